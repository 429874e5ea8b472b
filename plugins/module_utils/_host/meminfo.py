# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads how much memory a host has."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._host.limits import MemoryLimit, memory_limit

MEMINFO = Path("/proc/meminfo")


def memory_mib(field: str, text: str | None = None, limit: MemoryLimit | None = None) -> int:
    """Returns a field of /proc/meminfo, such as ``MemTotal`` or ``MemAvailable``, in MiB; 0 where it has none.

    A control group's limit counts where it is lower, as in containers.

    :param text: of /proc/meminfo; None: this host's.
    :param limit: of the control group; None: this host's, unless a text is given.
    """
    if limit is None:
        limit = memory_limit() if text is None else MemoryLimit(None)
    for line in (MEMINFO.read_text() if text is None else text).splitlines():
        name, _colon, value = line.partition(":")
        if name == field:
            return _within(int(value.split()[0]) // 1024, field, limit)
    return 0


def _within(mib: int, field: str, limit: MemoryLimit) -> int:
    if limit.most is None:
        return mib
    return min(mib, {"MemTotal": limit.most, "MemAvailable": max(0, limit.most - limit.taken)}.get(field, mib))
