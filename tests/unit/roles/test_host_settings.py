# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that changes a host's own settings, and puts them back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host import conditions

PROGRAM = Path(__file__).resolve().parents[3] / "roles/tune/files/host_settings.py"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
FORMER = {GOVERNOR: "powersave", conditions.HUGE_PAGES: "madvise", conditions.NUMA_BALANCING: "1"}
WANTED = {GOVERNOR: "performance", conditions.HUGE_PAGES: "always", conditions.NUMA_BALANCING: "0"}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for name, text in FORMER.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    return tmp_path


def run(host: Path, action: str) -> None:
    subprocess.run([sys.executable, "-I", PROGRAM, action, host / "before.json", host], check=True)


def values(host: Path) -> dict[str, str]:
    return {name: (host / name).read_text().strip() for name in FORMER}


def test_it_changes_what_makes_models_slower_and_puts_it_back(host: Path) -> None:
    run(host, "apply")
    assert values(host) == WANTED
    assert conditions.lasting_advice(conditions.read_conditions(host)) == []
    run(host, "restore")
    assert values(host) == FORMER


def test_a_second_start_remembers_what_was_there_at_first(host: Path) -> None:
    run(host, "apply")
    run(host, "apply")
    run(host, "restore")
    assert values(host) == FORMER


def test_what_somebody_else_changed_since_stays(host: Path) -> None:
    run(host, "apply")
    (host / conditions.HUGE_PAGES).write_text("never")
    run(host, "restore")
    assert values(host) == {**FORMER, conditions.HUGE_PAGES: "never"}


def test_the_kernels_list_of_choices_is_understood(host: Path) -> None:
    (host / conditions.HUGE_PAGES).write_text("[always] madvise never\n")
    run(host, "apply")
    assert (host / conditions.HUGE_PAGES).read_text() == "[always] madvise never\n", "it is so already"
    run(host, "restore")
    assert (host / conditions.HUGE_PAGES).read_text() == "[always] madvise never\n"


def test_a_host_without_any_of_it_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path, "apply")
    run(tmp_path, "restore")
    assert [path.name for path in tmp_path.iterdir()] == ["before.json"]


def test_it_changes_just_what_is_judged() -> None:
    wanted = next(
        ast.literal_eval(node.value)
        for node in ast.parse(PROGRAM.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "WANTED"
    )
    assert wanted == {
        conditions.GOVERNORS: conditions.WANTED_GOVERNOR,
        conditions.HUGE_PAGES: conditions.WANTED_HUGE_PAGES,
        conditions.NUMA_BALANCING: "0",
    }
