# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads how much memory a host has."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def memory_mib(field: str, text: str | None = None) -> int:
    """Returns a field of /proc/meminfo, such as ``MemTotal`` or ``MemAvailable``, in MiB; 0 where it has none."""
    for line in (MEMINFO.read_text() if text is None else text).splitlines():
        name, _colon, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) // 1024
    return 0
