# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of what was installed on a host, which its removal uses.

It is created before anything is changed, with the existing packages and accounts, and updated with each file, folder and link
that is created. It is in a folder of root, and contains digests, but no content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common import files
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import Present

FORMAT = 1


@dataclass
class Record:
    """What a host had before, and what was created on it since.

    :param packages: names of the packages that were there before; None for a host that was set up before there were records.
    :param automatic: names of those packages that apt had installed for others' sake.
    :param accounts: names of the accounts and groups that were there before.
    :param paths: path -> digest of what it was made with, as ``digest`` gives it. What had been there before is not among it.
    """

    packages: list[str] | None = None
    accounts: list[str] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    automatic: list[str] = field(default_factory=list)

    def note(self, path: str, before: Present, after: Present) -> None:
        """Records that a path was created or changed. Folders that existed before are not recorded."""
        if after.kind == "absent":
            self.paths.pop(path, None)
        elif path in self.paths or before.kind != "directory":
            self.paths[path] = digest(after)


def digest(present: Present) -> str:
    """Returns a fingerprint that detects changes by others: SHA-256 of a file, target of a link, empty for a folder."""
    if present.kind == "file":
        return "file " + hashlib.sha256(present.content).hexdigest()
    return f"link {present.content.decode(errors='replace')}" if present.kind == "link" else present.kind


def begin(installed: Iterable[str], automatic: Iterable[str], accounts: Iterable[str], set_up: bool) -> Record:
    """Returns the record of a host that has none.

    :param installed: its packages.
    :param automatic: those that apt installed for others' sake.
    :param set_up: whether it was set up before there were records. Which packages were there before is not known then.
    """
    return Record() if set_up else Record(sorted(installed), sorted(accounts), automatic=sorted(automatic))


def installed_packages(status: str) -> list[str]:
    """Returns the names of installed packages from dpkg's file ``status``."""
    names = []
    for block in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            names.append(fields["Package"])
    return names


def interrupted(status: str) -> bool:
    """Says whether dpkg was stopped while it installed something, by a full disk or a power cut, out of its file ``status``."""
    return bool(re.search(r"^Status: \S+ (reinstreq \S+|\S+ (unpacked|half-\w+|triggers-\w+))$", status, re.MULTILINE))


def automatic_packages(states: str) -> list[str]:
    """Returns the names of automatically installed packages from apt's file ``extended_states``."""
    return re.findall(r"^Package: (\S+)\n(?:.+\n)*?Auto-Installed: 1$", states, re.MULTILINE)


def read(path: str) -> Record | None:
    """Returns the record in a file, None where there is none. Raises CopilotError for anything else."""
    try:
        found: dict[str, Any] = json.loads(Path(path).read_bytes())
        if found["format"] != FORMAT:
            raise ValueError
        return Record(found["packages"], found["accounts"], found["paths"], found["automatic"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise CopilotError(
            f"{path} is no record of what was installed: move it away, and what is known by its name alone counts"
        ) from None


def write(path: str, record: Record) -> None:
    document = {"format": FORMAT, **asdict(record)}
    files.write(path, json.dumps(document, indent=1, sort_keys=True) + "\n", 0o600)
