# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The balancer's choice among servers, with the pool around it."""

from __future__ import annotations

import pytest
from copilot_router import holdings
from copilot_router.conversations import chain_of
from copilot_router.holdings import Holdings, Index
from copilot_router.pool import Health, Outcome, Request
from copilot_router.tokens import Timings
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


def held(policy, name, model="tiny"):
    return policy._of(name, model).holdings


def server():
    """What a server's router knows of its model."""
    return Holdings(Index())


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
    assert not policy._index.find(turn("a", 1, 2).prompt)
    assert (len(held(policy, home)), held(policy, home).tokens) == (0, 0)


def test_an_edit_falls_back_to_the_turn_before_it(make_pool):
    pool = make_pool(ZONES, slots=2, policy=Warmest())
    home = ask(pool, turn("a", 1), 0.0)
    ask(pool, turn("a", 1, 2), 10.0)
    ask(pool, turn("a", 1, 2, 3), 20.0)
    assert ask(pool, turn("a", 1, "edited"), 30.0) == home


def test_new_conversations_go_where_fewer_are_lost(make_pool):
    policy = Warmest()
    pool = make_pool({"m1": "madrid", "m2": "madrid"}, policy=policy)
    there = policy._of("m1", "tiny").holdings
    there.room, policy._of("m2", "tiny").holdings.room = 20_000, 20_000
    there.note(turn("a", 1).prompt, 18_000, 0, 0.0)
    assert [ask(pool, turn("b", 1), 9_000.0), ask(pool, turn("c", 1), 10_000.0)] == ["m2", "m1"]


def test_balancers_agree_on_a_conversation_that_none_knows(make_pool):
    """Whatever they chose before."""
    for name in "abcdefgh":
        pools = [make_pool(ZONES, slots=2, policy=Warmest()) for _balancer in range(3)]
        for number, pool in enumerate(pools):
            for _request in range(number):
                ask(pool, Request("tiny"), 0.0)
        assert len({ask(pool, turn(name, 1), 0.0) for pool in pools}) == 1


def test_what_is_remembered_of_a_backend_is_bounded(make_pool, monkeypatch):
    monkeypatch.setattr(holdings, "MOST", 8)
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    for number in range(50):
        ask(pool, turn(f"c{number}", 1), float(number))
    assert max(len(held(policy, name)) for name in ZONES) == 8
    assert len(policy._index) == sum(len(held(policy, name)) for name in ZONES)


def test_a_slow_backend_gets_little(make_pool):
    policy = Warmest()
    policy.speeds("m1", "tiny").learn(0, 0, 4000, 4_000_000, 10, 10_000)
    pool = make_pool(ZONES, slots=2, policy=policy)
    assert "m1" not in [ask(pool, turn(f"c{number}", 1), number * 1000.0) for number in range(12)]


def test_without_a_chain_the_least_busy_is_chosen(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"}, policy=Warmest())
    pool.acquire(Request("tiny"), 0.0)
    assert pool.acquire(Request("tiny"), 0.0).backend.id == "m2"


def test_a_backend_that_left_the_pool_is_forgotten_whatever_is_under_way_there(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    leases = [pool.acquire(turn(f"c{number}", 1), 0.0) for number in range(3)]
    policy.keep({"m2"})
    for lease in leases:
        pool.answered(lease, Timings(0, 9000, 1.0, 1, 1.0), 2.0)
        pool.release(lease, Outcome.SUCCESS, 2.0)
    assert (list(policy._places), list(policy._work)) == ([("m2", "tiny")], ["m2"])
    assert len(policy._index) == len(held(policy, "m2"))


def test_what_a_server_says_is_believed_over_what_was_sent_there(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    home = ask(pool, turn("a", 1), 0.0)
    other = min(set(ZONES) - {home})
    elsewhere = server()
    elsewhere.note(turn("a", 1).prompt, 9000, 100, 1000.0)
    policy.believe(home, {"tiny": server().said()}, 0.0)
    policy.believe(other, {"tiny": elsewhere.said()}, 900.0)
    lease = pool.acquire(turn("a", 1, 2), 101.0)
    assert (lease.backend.id, lease.reason, lease.expected) == (other, "warm", 9000)
    assert next(iter(held(policy, other))).used == 101.0, "it counts as held there at once"


def test_what_is_under_way_stays_when_the_server_has_not_seen_it_yet(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    lease = pool.acquire(turn("a", 1), 0.0)
    policy.believe(lease.backend.id, {"tiny": server().said()}, 0.0)
    assert len(held(policy, lease.backend.id)) == 1
    pool.release(lease, Outcome.ABANDONED, 1.0)
    policy.believe(lease.backend.id, {"tiny": server().said()}, 0.0)
    assert len(held(policy, lease.backend.id)) == 0


def test_what_is_no_state_is_refused_and_changes_nothing(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    home = ask(pool, turn("a", 1), 0.0)
    for wrong in ({"tiny": {}}, {"tiny": {**server().said(), "held": [[1.0, 5, ["zz", 5]]]}}, {"tiny": 7}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            policy.believe(home, wrong, 0.0)
    assert len(held(policy, home)) == 1


def test_speeds_are_those_that_a_server_says(make_pool):
    policy = Warmest()
    said = server()
    said.answered(said.begin(turn("a", 1).prompt, 0.0), Timings(0, 18_000, 90_000.0, 200, 20_000.0), 200.0)
    policy.believe("m1", {"tiny": said.said()}, 0.0)
    assert policy.speeds("m1", "tiny").prompt(10_000) == pytest.approx(200)
    assert policy.speeds("m1", "tiny").said() == said.speeds.said()


def test_a_model_knows_nothing_of_what_another_holds(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    ask(pool, turn("a", 1), 0.0)
    content = {"messages": [SYSTEM]}
    assert chain_of(content, "tiny").marks != chain_of(content, "other").marks != chain_of(content, "other", b"key").marks
    assert pool.acquire(turn("a", 1, 2), 9.0).reason == "warm"


def test_the_zone_rule_and_the_health_of_backends_come_before_warmth(make_pool):
    policy = Warmest()
    pool = make_pool({"m1": "madrid", "p1": "paris"}, slots=2, policy=policy, zone_policy="local_only")
    far = server()
    far.note(turn("a", 1).prompt, 9000, 0, 0.0)
    policy.believe("p1", {"tiny": far.said()}, 0.0)
    assert ask(pool, turn("a", 1, 2), 1.0) == "m1"
    pool.configure(zone="madrid", zone_policy="any")
    pool.report("p1", Health.DRAINING, 2.0)
    lease = pool.acquire(turn("b", 1), 3.0)
    assert (lease.backend.id, lease.reason) == ("m1", "cold")


def test_who_is_not_expected_to_go_on_displaces_nobody(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    typed = [
        Request("tiny", chain_of({"input_prefix": "x" * 3000 + str(key), "input_suffix": "y"}), kept=False) for key in range(9)
    ]
    assert len({ask(pool, one, number * 10.0) for number, one in enumerate(typed)}) == 1
    assert sum(len(held(policy, name)) for name in ZONES) == 0


def test_one_that_fails_at_one_backend_is_counted_right_at_the_next(make_pool):
    policy = Warmest()
    pool = make_pool(ZONES, slots=2, policy=policy)
    first = pool.acquire(turn("a", 1), 0.0)
    pool.release(first, Outcome.FAILURE, 1.0)
    second = pool.acquire(turn("a", 1), 1.0, tried={first.backend.id})
    pool.answered(second, Timings(0, 9000, 1.0, 1, 1.0), 2.0)
    pool.release(second, Outcome.SUCCESS, 2.0)
    assert [policy._work_of(name).under_way for name in ZONES] == [0, 0, 0]
    assert (len(held(policy, first.backend.id)), held(policy, second.backend.id).tokens) == (0, 9001)
