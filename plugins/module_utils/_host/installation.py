# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what is installed on this host: packages, accounts and groups, and the record of what the collection installed."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._host import installed

DPKG_STATUS = Path("/var/lib/dpkg/status")
DPKG_UPDATES = Path("/var/lib/dpkg/updates")  # what dpkg has not yet added to its status
APT_STATES = Path("/var/lib/apt/extended_states")
SET_UP = "/etc/sysusers.d/slm-copilot.conf"


def packages() -> list[str]:
    """Returns the names of the packages that are installed; none on a system without dpkg."""
    if not DPKG_STATUS.exists():
        return []
    return installed.installed_packages(DPKG_STATUS.read_text(encoding="utf-8", errors="replace"))


def packages_interrupted() -> bool:
    """Says whether dpkg was stopped while it installed something."""
    if not DPKG_STATUS.exists():
        return False
    return any(DPKG_UPDATES.glob("[0-9]*")) or installed.interrupted(DPKG_STATUS.read_text(encoding="utf-8", errors="replace"))


def automatic() -> list[str]:
    """Returns the names of the packages that apt marks as automatically installed."""
    if not APT_STATES.exists():
        return []
    return installed.automatic_packages(APT_STATES.read_text(encoding="utf-8", errors="replace"))


def accounts() -> list[str]:
    """Returns the names of accounts, and of groups."""
    return sorted({*(one.pw_name for one in pwd.getpwall()), *(one.gr_name for one in grp.getgrall())})


def owners(paths: Iterable[str]) -> set[str]:
    """Returns the names of the accounts and groups that paths and all below them belong to."""
    found = set()
    for top in map(Path, paths):
        for path in (top, *top.rglob("*")):
            with suppress(OSError, KeyError):
                there = path.lstat()
                found |= {pwd.getpwuid(there.st_uid).pw_name, grp.getgrgid(there.st_gid).gr_name}
    return found


def record_of(path: str) -> installed.Record:
    """Returns the record in a file, or begins one. Raises CopilotError when the file holds anything else."""
    return installed.read(path) or installed.begin(packages(), automatic(), accounts(), set_up=os.path.exists(SET_UP))
