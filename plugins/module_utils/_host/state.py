# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what a host is: its CPU, as /proc and /sys show it, and which paths are there."""

from __future__ import annotations

import glob
import os
import platform
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._host.cpu import Sysfs, cpu_info
from ansible_collections.slm.copilot.plugins.module_utils._host.limits import cpu_limit


def read_text(path: Path) -> str:
    """The text of a file, or nothing: in a container or a small VM parts of /sys are missing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def read_numbered(pattern: str, root: Path) -> dict[int, str]:
    """Text of each file that matches, by the first number in its path below root."""
    texts = {}
    for path in root.glob(pattern):
        number = re.search(r"\d+", str(path.relative_to(root)))
        text = read_text(path)
        if number and text:
            texts[int(number[0])] = text
    return texts


def read_sysfs(root: Path) -> Sysfs:
    names = (read_text(root / "class/dmi/id" / name) for name in ("sys_vendor", "product_name"))
    return {
        "numa_nodes": read_numbered("node*/cpulist", root / "devices/system/node"),
        "thread_siblings": read_numbered("cpu*/topology/thread_siblings_list", root / "devices/system/cpu"),
        "hypervisor_type": read_text(root / "hypervisor/type"),
        "dmi": " ".join(filter(None, names)),
    }


def lscpu(module: Any) -> str:
    """Returns what ``lscpu -J`` says, or nothing where it is missing."""
    program = module.get_bin_path("lscpu")
    return str(module.run_command([program, "-J"], environ_update={"LC_ALL": "C"})[1]) if program else ""


def read_cpu(lscpu_json: str) -> dict[str, Any]:
    """Returns what this host's CPU can do.

    :param lscpu_json: what ``lscpu -J`` says; empty where it is missing.
    :raises CopilotError: for a type of machine that is not known, and where /proc/cpuinfo lists no processor.
    """
    return cpu_info(
        cpuinfo=read_text(Path("/proc/cpuinfo")),
        machine=platform.machine(),
        lscpu_json=lscpu_json,
        sysfs=read_sysfs(Path("/sys")),
        affinity=os.sched_getaffinity(0),
        quota=cpu_limit(),
    )


def kinds_of(patterns: Iterable[str]) -> dict[str, str]:
    """Returns which paths are there, and of each whether it is a ``file``, ``directory``, ``link`` or ``special``.

    :param patterns: absolute paths, with wildcards.
    :raises OSError: where a path without wildcards cannot be looked at, so that nobody takes it for missing.
    """
    kinds = {}
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]:
            try:
                mode = os.lstat(path).st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            tests = {"link": stat.S_ISLNK, "directory": stat.S_ISDIR, "file": stat.S_ISREG}
            kinds[path] = next((kind for kind, test in tests.items() if test(mode)), "special")
    return kinds
