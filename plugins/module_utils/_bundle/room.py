# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disk space that a bundle needs on a host, and whether the host has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def needs_of(files: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Returns the bytes that the files for one host take at most, by where they go.

    ``work`` is for the packages and wheels, as one archive and as files, ``system`` for installed packages, and ``programs`` for
    venvs and the engine. A host that has some of it already needs less.
    """
    files = list(files)

    def total(key: str, *kinds: str) -> int:
        return sum(one.get(key, 0) for one in files if one["kind"] in kinds)

    engine = total("size", "engine") + total("unpacked", "engine")
    return {
        "work": 2 * total("size", "deb", "index", "wheel"),
        "system": total("unpacked", "deb"),
        "programs": total("unpacked", "wheel") + engine,
    }


def shortages(needs: Mapping[str, int], file_systems: Mapping[str, str]) -> list[str]:
    """Returns the file systems that lack room, in words.

    :param file_systems: for each key of ``needs`` free bytes and mount point there, as ``df --output=avail,target`` prints them.
    """
    free, needed = {}, dict.fromkeys((line.split(maxsplit=1)[1] for line in file_systems.values()), 0)
    for key, size in needs.items():
        available, mount = file_systems[key].split(maxsplit=1)
        free[mount] = int(available)
        needed[mount] += size
    return [
        f"{mount} has {free[mount] / 1e6:.0f} MB left, and {size / 1e6:.0f} MB are needed there"
        for mount, size in sorted(needed.items())
        if size > free[mount]
    ]
