# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host is told beforehand which of its file systems lacks room for what a bundle brings."""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._bundle.room import needs_of, shortages

MB = 1_000_000
FILES = [
    {"kind": "deb", "size": 10 * MB, "unpacked": 40 * MB},
    {"kind": "index", "size": 1 * MB},
    {"kind": "wheel", "size": 100 * MB, "unpacked": 300 * MB},
    {"kind": "engine", "size": 14 * MB, "unpacked": 60 * MB},
    {"kind": "engine", "size": 65},
    {"kind": "model", "size": 14_000 * MB},
]
NEEDS = {"work": 222 * MB, "system": 40 * MB, "programs": 374 * MB + 65}


def test_what_files_take_where_they_go():
    assert needs_of(iter(FILES)) == NEEDS
    assert needs_of([{"kind": "deb", "size": MB}]) == {"work": 2 * MB, "system": 0, "programs": 0}  # by an older version


@pytest.mark.parametrize(
    ("work", "system", "programs", "told"),
    [
        ("700000000 /", "700000000 /", "700000000 /", []),
        ("600000000 /", "600000000 /", "600000000 /", ["/ has 600 MB left, and 636 MB are needed there"]),
        ("223000000 /var", "600000000 /", "600000000 /", []),
        (
            "  5000000 /var/my cache",
            "600000000 /",
            "1000 /opt",
            ["/opt has 0 MB left, and 374 MB are needed there", "/var/my cache has 5 MB left, and 222 MB are needed there"],
        ),
    ],
    ids=["enough", "one for all", "enough on two", "two of three are full"],
)
def test_file_systems_without_room_are_named_with_figures(work, system, programs, told):
    assert shortages(NEEDS, {"work": work, "system": system, "programs": programs}) == told
