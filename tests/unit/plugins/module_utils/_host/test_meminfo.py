# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much memory there is."""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host.meminfo import memory_mib

TEXT = "MemTotal:       32862056 kB\nMemFree:         8123456 kB\nMemAvailable:   20480000 kB\nHugePages_Total:       0\n"


@pytest.mark.parametrize(("field", "expected"), [("MemTotal", 32091), ("MemAvailable", 20000), ("Nothing", 0)])
def test_fields(field: str, expected: int) -> None:
    assert memory_mib(field, TEXT) == expected


def test_this_machine_has_a_sensible_amount() -> None:
    assert 256 < memory_mib("MemTotal") < 2**24
