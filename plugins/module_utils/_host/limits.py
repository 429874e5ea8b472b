# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a control group leaves of a host's hardware. A container sees its own group as the root; a host's root has no limits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._host.cpu import cpu_quota

GROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20


@dataclass(frozen=True)
class MemoryLimit:
    """Of a control group, in MiB.

    :param most: what its processes may have; None: there is no limit.
    :param taken: what they have, without what the kernel can drop.
    """

    most: int | None
    taken: int = 0


def cpu_limit(root: Path = GROUPS) -> int | None:
    """Returns of how many CPUs the time may be used, at least 1; None where there is no limit.

    :param root: where the control groups are mounted, of version 2, or the single controllers of version 1.
    """
    quota, period = _text(root / "cpu/cpu.cfs_quota_us"), _text(root / "cpu/cpu.cfs_period_us")
    return cpu_quota(_text(root / "cpu.max") or f"{quota} {period}")


def usable_cpus() -> int:
    """Returns how many CPUs this process may use at once, by its affinity and by its time."""
    there = len(os.sched_getaffinity(0))
    return min(there, cpu_limit() or there)


def memory_limit(root: Path = GROUPS) -> MemoryLimit:
    """Returns the limit of memory.

    :param root: as for ``cpu_limit``.
    """
    folder, file, name = (
        (root, "memory.max", "anon")
        if (root / "memory.max").exists()
        else ((root / "memory", "memory.limit_in_bytes", "total_rss"))
    )
    most = _text(folder / file)
    if not most.isdecimal():
        return MemoryLimit(None)
    numbers = dict(line.split() for line in _text(folder / "memory.stat").splitlines() if len(line.split()) == 2)
    return MemoryLimit(int(most) // MIB, int(numbers.get(name, 0)) // MIB)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
