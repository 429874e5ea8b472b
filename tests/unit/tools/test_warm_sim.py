# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulated developers: the choice by warmth against others, in a few seeds. docs/warm.md has the whole table."""

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


def found(policy, developers, room, servers=3, **more):
    made = {name: more.pop(name) for name in ("shared_trunk", "spread") if name in more}
    return [
        warm_sim.run(warm_sim.developers(seed, developers, **made), policy, servers=servers, room=room, seed=seed, **more)
        for seed in SEEDS
    ]


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


@pytest.mark.parametrize(
    "case",
    [
        pytest.param({"spread": 5.0}, id="monday morning"),
        pytest.param({"midnight": 1800.0}, id="midnight"),
        pytest.param({"shared_trunk": False}, id="nothing shared"),
        pytest.param({"speeds": (1.0, 1.0, 0.1)}, id="a slow server"),
        pytest.param({"kill_at": 3000.0}, id="a server is killed"),
    ],
)
def test_in_no_case_does_anybody_wait_longer_than_under_least_busy(case):
    assert p95(found("warm", 9, FITS, **dict(case))) <= 1.05 * p95(found("least busy", 9, FITS, **dict(case)))


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
