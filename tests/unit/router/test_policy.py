# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from copilot_router.policy import LeastBusy, Policy
from copilot_router.pool import Backend, Candidate, Outcome, Request

REQUEST = Request("tiny")


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        # name: (in flight, slots, number of the last choice)
        pytest.param({"a": (7, 1, 1)}, "a", id="only-one"),
        pytest.param({"a": (1, 1, 1), "b": (0, 1, 2)}, "b", id="idle-before-busy"),
        pytest.param({"a": (2, 1, 1), "b": (3, 4, 9)}, "b", id="load-is-for-each-slot"),
        pytest.param({"a": (2, 4, 5), "b": (1, 2, 4)}, "b", id="equal-load-of-unequal-backends"),
        pytest.param({"a": (1, 3, 5), "b": (2, 6, 4)}, "b", id="equal-thirds"),
        pytest.param({"a": (0, 1, 3), "b": (0, 1, 1), "c": (0, 1, 2)}, "b", id="chosen-longest-ago"),
        pytest.param({"a": (0, 1, 3), "b": (0, 1, 0)}, "b", id="never-chosen"),
        pytest.param({"a": (0, 1, 0), "b": (0, 1, 0)}, "a", id="first-of-the-inventory"),
    ],
)
def test_the_least_busy_is_chosen(candidates, chosen):
    known = [
        Candidate(Backend(name, "madrid", slots), in_flight=in_flight, last_chosen=last)
        for name, (in_flight, slots, last) in candidates.items()
    ]
    assert LeastBusy().choose(known, REQUEST, 0.0).backend.id == chosen


class LastOne(Policy):
    """Chooses the last candidate, writes down what it is told, and fails where it is asked to."""

    def __init__(self, fails_in=None):
        self.fails_in = fails_in
        self.told = []

    def note(self, method, *facts):
        self.told.append((method, *facts))
        if method == self.fails_in:
            raise ArithmeticError(method)

    def choose(self, candidates, request, now):
        self.note("choose", [one.backend.id for one in candidates], request, now)
        return candidates[-1]

    def on_acquired(self, lease):
        self.note("on_acquired", lease)

    def on_released(self, lease, outcome, now):
        self.note("on_released", lease, outcome, now)


def test_another_policy_chooses_and_learns(make_pool):
    policy = LastOne()
    pool = make_pool({"m1": "madrid", "m2": "madrid", "p1": "paris"}, policy=policy, zone_policy="prefer_local")
    lease = pool.acquire(REQUEST, 5.0)
    pool.release(lease, Outcome.ABANDONED, 9.0)
    pool.release(lease, Outcome.FAILURE, 9.5)
    assert policy.told == [
        ("choose", ["m1", "m2"], REQUEST, 5.0),  # the zone rule came first
        ("on_acquired", lease),
        ("on_released", lease, Outcome.ABANDONED, 9.0),  # once
    ]
    assert (lease.backend.id, lease.request, lease.since) == ("m2", REQUEST, 5.0)


@pytest.mark.parametrize("method", ["choose", "on_acquired"])
def test_a_policy_that_fails_leaves_no_request_counted(make_pool, method):
    pool = make_pool({"m1": "madrid"}, policy=LastOne(fails_in=method))
    before = pool.snapshot(0.0)
    with pytest.raises(ArithmeticError, match=method):
        pool.acquire(REQUEST, 0.0)
    assert pool.snapshot(0.0) == before


def test_a_policy_that_fails_does_not_use_up_the_trial(make_pool):
    policy = LastOne()
    pool = make_pool({"m1": "madrid"}, policy=policy, failures=1, cooldown=0.0)
    pool.release(pool.acquire(REQUEST, 0.0), Outcome.FAILURE, 0.0)
    policy.fails_in = "on_acquired"
    with pytest.raises(ArithmeticError):
        pool.acquire(REQUEST, 1.0)
    policy.fails_in = None
    assert pool.acquire(REQUEST, 1.0).backend.id == "m1"


def test_a_policy_that_fails_at_the_end_does_not_keep_the_request(make_pool):
    pool = make_pool({"m1": "madrid"}, policy=LastOne(fails_in="on_released"))
    lease = pool.acquire(REQUEST, 0.0)
    with pytest.raises(ArithmeticError):
        pool.release(lease, Outcome.SUCCESS, 1.0)
    pool.release(lease, Outcome.SUCCESS, 2.0)
    assert (pool.snapshot(2.0)[0]["in_flight"], pool.snapshot(2.0)[0]["served"]) == (0, 1)


def test_a_policy_need_not_learn(make_pool):
    class First(Policy):
        def choose(self, candidates, request, now):
            return candidates[0]

    pool = make_pool({"m1": "madrid", "m2": "madrid"}, policy=First())
    for _turn in range(3):
        lease = pool.acquire(REQUEST, 0.0)
        pool.release(lease, Outcome.SUCCESS, 0.0)
        assert lease.backend.id == "m1"
