# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulated developers: the choice by warmth against others, in a few seeds. docs/warm.md has the tables."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import warm_sim

SEEDS = range(3)
FITS, TOO_SMALL = 104_000, 52_000  # tokens of a host cache
OTHERS = ("least busy", "shuffle", "session", "stick table", "prefix")


def found(policy, developers, room, case="usual"):
    return [warm_sim.result(policy, developers, 3, room, warm_sim.CASES[case], None, seed) for seed in SEEDS]


def over(results):
    return sum(one.computed for one in results) / sum(one.least for one in results)


def p95(results):
    return statistics.mean(one.quantile(95) for one in results)


@pytest.mark.parametrize(("developers", "room"), [(4, FITS), (9, FITS), (9, TOO_SMALL)])
def test_two_thirds_of_what_least_busy_computes_is_enough(developers, room):
    assert over(found("warm", developers, room)) < 0.67 * over(found("least busy", developers, room))


@pytest.mark.parametrize("policy", OTHERS)
@pytest.mark.parametrize("room", [FITS, TOO_SMALL])
def test_none_that_needs_no_header_computes_less(policy, room):
    assert over(found("warm", 9, room)) < (1.05 if policy == "stick table" else 0.9) * over(found(policy, 9, room))


@pytest.mark.parametrize("policy", OTHERS)
@pytest.mark.parametrize("developers", [4, 9])
def test_nobody_waits_longer_than_under_others(policy, developers):
    assert p95(found("warm", developers, FITS)) <= 1.05 * p95(found(policy, developers, FITS))


@pytest.mark.parametrize("developers", [9, 12])
def test_nobody_waits_longer_where_not_all_fits(developers):
    assert p95(found("warm", developers, TOO_SMALL)) <= 1.05 * p95(found("least busy", developers, TOO_SMALL))


@pytest.mark.parametrize("case", warm_sim.CASES)
def test_in_no_case_does_anybody_wait_longer_than_under_least_busy(case):
    assert p95(found("warm", 9, FITS, case)) <= 1.05 * p95(found("least busy", 9, FITS, case))


def test_kept_slots_save_half_of_what_a_restart_costs():
    usual, cold, kept = (over(found("warm", 9, FITS, case)) for case in ("usual", "restarted", "restarted, slots kept"))
    assert kept - usual < 0.5 * (cold - usual)


def test_who_starts_twelve_agents_takes_his_share():
    """One developer asks twelve things at once, again and again; five others one at a time."""

    def waits(policy):
        starts = warm_sim.developers(1, 6, spread=5.0)
        for agent in range(12):
            starts += [one for one in warm_sim.developers(100 + agent, 1, spread=5.0) if one.counts]
        for one in starts[12:]:
            ask = one
            while ask.then:
                ask.developer, ask.counts = 0, False
                ask = ask.then[0]
        result = warm_sim.run(starts, policy, servers=3, room=FITS)
        return statistics.mean(statistics.mean(result.by_developer[number]) for number in range(1, 6))

    assert waits("warm") < 0.7 * waits("least busy")


def test_the_same_seed_gives_the_same_figures():
    assert found("warm", 4, FITS)[0].waits == found("warm", 4, FITS)[0].waits


def test_what_is_simulated_is_a_table_and_a_chart(capsys, monkeypatch, tmp_path):
    chart = tmp_path / "chart.svg"
    asked = ["--developers", "2", "--room", "52000", "--seeds", "2", "--cases", "midnight", "--chart", str(chart)]
    monkeypatch.setattr(sys, "argv", ["warm_sim.py", *asked, "--policies", "warm", "one server"])
    warm_sim.main()
    cells = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [cell[:4] for cell in cells] == [["midnight", "2", "52 k", policy] for policy in ("warm", "one server")]
    text = chart.read_text()
    for *_name, policy, over, _p50, p95, _later, _fairness, _hours in cells:
        assert f"midnight, 2 developers, 52 k: {policy}</text>" in text
        assert f">{float(over):.1f}</text>" in text
        assert f">{p95}." in text or f">{int(p95) - 1}." in text
