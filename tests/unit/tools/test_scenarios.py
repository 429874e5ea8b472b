# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the runner of Molecule's scenarios says of them at its end."""

from __future__ import annotations

import pytest

scenarios = pytest.importorskip("scenarios")

# As Molecule and pytest print them.
STEP = "\x1b[36mINFO    \x1b[0m \x1b[32mzones\x1b[0m ➜ \x1b[33m{}\x1b[0m: \x1b[36mExecuting\x1b[0m\n"
SAID = "\x1b[36mINFO    \x1b[0m \x1b[32mzones\x1b[0m ➜ \x1b[33mcreate\x1b[0m: \x1b[32mExecuted: Successful\x1b[0m\n"
SLOW = "  \x1b[2m│\x1b[0m {}s call     molecule/zones/tests/test_faults.py::{}\n"
FAILED = "  \x1b[2m│\x1b[0m FAILED tests/test_faults.py::test_two - AssertionError: not within 120 s\n"


def read(lines):
    one = scenarios.Scenario("zones")
    for seconds, line in lines:
        one.read(line, seconds)
    return one


def test_each_step_counts_until_the_next_begins():
    one = read(
        enumerate(
            [
                STEP.format("destroy"),
                STEP.format("create"),
                SAID,
                STEP.format("verify"),
                STEP.format("destroy"),
                STEP.format("end"),
            ]
        )
    )
    assert one.steps == {"destroy": 2, "create": 2, "verify": 1}
    assert one.seconds == 5


def test_the_slowest_tests_come_first_and_the_others_not_at_all():
    one = read((0, SLOW.format(f"{number}.5", f"test_{number}[an id]")) for number in range(1, 9))
    one.status = 0
    said = scenarios.summary([one])
    assert "zones                  8 tests/test_faults.py::test_8[an id]\n" in said
    assert said.index("test_8") < said.index("test_4")
    assert "test_3" not in said


@pytest.mark.parametrize(("status", "outcome", "shown"), [(0, "passed", False), (2, "FAILED", True)])
def test_what_failed_is_told_with_its_scenario(status, outcome, shown):
    one = read([(0, FAILED)])
    one.status = status
    said = scenarios.summary([one])
    assert f"zones             {outcome}" in said
    assert ("zones: FAILED tests/test_faults.py::test_two - AssertionError: not within 120 s" in said) == shown
