# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a host makes a model slower, and how it is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host.conditions import (
    Conditions,
    lasting_advice,
    passing_advice,
    read_conditions,
)

FILES = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "sys/devices/system/node/node0/cpulist": "0",
    "sys/devices/system/node/node1/cpulist": "1",
    "sys/devices/system/node/node2/cpulist": "",
    "proc/sys/kernel/numa_balancing": "1",
    "proc/meminfo": "MemTotal: 1024000 kB\nSwapTotal: 512000 kB\nSwapFree: 256000 kB",
    "proc/stat": "cpu  500 100 200 9000 50 50 50 100 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0",
}
SLOW = Conditions("powersave", "madvise", 500, 0.25, 2, True, 0.1)
FAST = Conditions("performance", "always", 500, 0.0, 2, False, 0.0)


def test_what_is_read(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert read_conditions(tmp_path) == SLOW


def test_a_host_that_shows_nothing_is_not_judged(tmp_path: Path) -> None:
    assert read_conditions(tmp_path) == Conditions()
    assert lasting_advice(Conditions()) == passing_advice(Conditions()) == []


def test_this_host_can_be_read() -> None:
    found = read_conditions()
    assert 0 <= found.steal_share < 1 and 0 <= found.swap_used_share < 10 and found.numa_nodes >= 1


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        pytest.param(SLOW, ["is powersave: ", "set to madvise: ", "between 2 nodes "], id="all"),
        pytest.param(FAST, [], id="none"),
        pytest.param(Conditions(numa_balancing=True), [], id="one_node_has_nowhere_to_move_to"),
    ],
)
def test_what_lasts_is_judged(conditions: Conditions, words: list[str]) -> None:
    found = lasting_advice(conditions)
    assert len(found) == len(words)
    assert all(word in said and "copilot_tune_host: true" in said for word, said in zip(words, found))


def test_what_passes_is_judged() -> None:
    steal, swap = passing_advice(SLOW)
    assert "gave 10% of the CPU time" in steal
    assert "as 25% of the memory" in swap
    assert passing_advice(FAST) == []
