# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The balancer's choice among servers, with the pool around it."""

from __future__ import annotations

from copilot_router import warmest
from copilot_router.conversations import chain_of
from copilot_router.pool import Outcome, Request
from copilot_router.warmest import Warmest

SYSTEM = {"role": "system", "content": "x" * 40_000}
ZONES = {"m1": "madrid", "m2": "madrid", "m3": "madrid"}


def turn(name, *said):
    messages = [SYSTEM, *({"role": "user", "content": f"{name} {text} " + "y" * 20_000} for text in said)]
    return Request("tiny", chain_of({"messages": messages}))


def ask(pool, request, now, outcome=Outcome.SUCCESS):
    lease = pool.acquire(request, now)
    pool.release(lease, outcome, now + 1)
    return lease.backend.id


def test_a_conversation_stays_where_it_is_held(make_pool):
    pool = make_pool(ZONES, slots=2, policy=Warmest())
    first = {name: ask(pool, turn(name, 1), 0.0) for name in "abcdef"}
    assert {name: ask(pool, turn(name, 1, 2), 100.0) for name in "fedcba"} == first


def test_what_many_share_attracts_nobody(make_pool):
    pool = make_pool(ZONES, slots=2, policy=Warmest())
    there = [ask(pool, turn(f"conversation {number}", 1), number * 1000.0) for number in range(30)]
    assert min(there.count(name) for name in ZONES) >= 5


def test_it_leaves_where_waiting_takes_longer_than_computing(make_pool):
    pool = make_pool(ZONES, slots=2, policy=Warmest())
    home = ask(pool, turn("a", 1), 0.0)
    leases = [pool.acquire(turn("a", 1, 2, number), 100.0) for number in range(8)]
    assert {lease.backend.id for lease in leases} > {home}
    for lease in leases:
        pool.release(lease, Outcome.SUCCESS, 200.0)


def test_a_backend_that_failed_holds_nothing(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    home = ask(pool, turn("a", 1), 0.0, Outcome.FAILURE)
    assert policy._find(turn("a", 1, 2).prompt) == (0, {})
    assert policy._of(home).characters == 0


def test_an_edit_falls_back_to_the_turn_before_it(make_pool):
    pool = make_pool(ZONES, slots=2, policy=Warmest())
    home = ask(pool, turn("a", 1), 0.0)
    ask(pool, turn("a", 1, 2), 10.0)
    ask(pool, turn("a", 1, 2, 3), 20.0)
    assert ask(pool, turn("a", 1, "edited"), 30.0) == home


def test_new_conversations_go_where_fewer_are_lost(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"}, policy=Warmest(room=20_000))
    first = ask(pool, turn("a", 1), 0.0)
    assert ask(pool, turn("b", 1), 1.0) != first


def test_balancers_agree_on_a_conversation_that_none_knows(make_pool):
    """Whatever they chose before."""
    for name in "abcdefgh":
        pools = [make_pool(ZONES, slots=2, policy=Warmest()) for _balancer in range(3)]
        for number, pool in enumerate(pools):
            for _request in range(number):
                ask(pool, Request("tiny"), 0.0)
        assert len({ask(pool, turn(name, 1), 0.0) for pool in pools}) == 1


def test_what_a_backend_kept_is_bounded_by_its_room(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    for number in range(200):
        ask(pool, turn(f"c{number}", 1), float(number))
    assert sum(len(policy._of(name).kept) for name in ZONES) < 30


def test_a_slow_backend_gets_little(make_pool):
    policy = Warmest()
    policy.speeds("m1").learn(0, 0, 4000, 4_000_000, 10, 10_000)
    pool = make_pool(ZONES, slots=2, policy=policy)
    assert "m1" not in [ask(pool, turn(f"c{number}", 1), number * 1000.0) for number in range(12)]


def test_without_a_chain_the_least_busy_is_chosen(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"}, policy=Warmest())
    pool.acquire(Request("tiny"), 0.0)
    assert pool.acquire(Request("tiny"), 0.0).backend.id == "m2"


def test_memory_is_bounded(make_pool, monkeypatch):
    monkeypatch.setattr(warmest, "MOST_TURNS", 50)
    policy = Warmest(room=10**9)
    pool = make_pool(ZONES, slots=2, policy=policy)
    for number in range(200):
        ask(pool, turn(f"c{number:03}", 1), float(number))
    assert len(policy._turns) == sum(len(policy._of(name).kept) for name in ZONES) == 50
    assert sum(policy._of(name).characters for name in ZONES) == 50 * turn("c100", 1).prompt.size
    assert not any(policy._of(name).under_way for name in ZONES)
