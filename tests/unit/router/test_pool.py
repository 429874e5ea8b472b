# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import math
import random
from collections import Counter

import pytest
from copilot_router.policy import LeastBusy
from copilot_router.pool import Backend, Health, NoBackend, Outcome, Pool, Request

TINY = frozenset({"tiny"})
REQUEST = Request("tiny")
ZONES = {"m1": "madrid", "m2": "madrid", "p1": "paris", "b1": "berlin"}


def in_flight(pool):
    return {one["id"]: one["in_flight"] for one in pool.snapshot(0.0)}


def take_out(pool, backend_id, now):
    """Opens the breaker of this backend by failures."""
    everyone_else = [one["id"] for one in pool.snapshot(now) if one["id"] != backend_id]
    leases = [pool.acquire(REQUEST, now, tried=everyone_else) for _failure in range(2)]
    for lease in leases:
        assert lease.backend.id == backend_id
        pool.release(lease, Outcome.FAILURE, now)


# Choice


@pytest.mark.parametrize(
    ("zone_policy", "unusable", "tried", "chosen"),
    [
        pytest.param("any", [], [], {"m1", "m2", "p1", "b1"}, id="any-uses-all"),
        pytest.param("any", ["m1"], ["p1"], {"m2", "b1"}, id="any-without-down-and-tried"),
        pytest.param("any", ["m1"], ["m2", "p1", "b1"], {"m2", "p1", "b1"}, id="any-again-when-all-were-tried"),
        pytest.param("prefer_local", [], [], {"m1", "m2"}, id="prefer-local-stays"),
        pytest.param("prefer_local", ["m1"], [], {"m2"}, id="prefer-local-stays-with-one"),
        pytest.param("prefer_local", ["m1", "m2"], [], {"p1", "b1"}, id="prefer-local-leaves"),
        pytest.param("prefer_local", ["m1"], ["m2"], {"p1", "b1"}, id="prefer-local-retries-elsewhere"),
        pytest.param("prefer_local", ["m1"], ["m2", "p1", "b1"], {"m2"}, id="prefer-local-comes-back"),
        pytest.param("local_only", [], [], {"m1", "m2"}, id="local-only-stays"),
        pytest.param("local_only", ["m1"], ["m2"], {"m2"}, id="local-only-stays-when-tried"),
        pytest.param("local_only", ["m1", "m2"], [], None, id="local-only-rather-refuses"),
        pytest.param("any", ["m1", "m2", "p1", "b1"], [], None, id="all-down"),
    ],
)
def test_who_is_chosen(make_pool, zone_policy, unusable, tried, chosen):
    pool = make_pool(ZONES, zone_policy=zone_policy)
    for name in unusable:
        pool.report(name, Health.DOWN, 0.0)
    if chosen is None:
        with pytest.raises(NoBackend):
            pool.acquire(REQUEST, 0.0, tried)
    else:
        # Many more than backends: a busy local one is still better than an idle one of another zone.
        assert {pool.acquire(REQUEST, 0.0, tried).backend.id for _request in range(20)} == chosen


@pytest.mark.parametrize("health", [health for health in Health if health is not Health.READY])
def test_only_a_ready_backend_is_used(make_pool, health):
    pool = make_pool({"m1": "madrid", "m2": "madrid"})
    pool.report("m1", health, 0.0)
    assert {pool.acquire(REQUEST, 0.0).backend.id for _request in range(5)} == {"m2"}


def test_only_a_backend_with_the_model_is_used(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"})
    pool.replace([Backend("m1", "madrid", 1, TINY), Backend("m2", "madrid", 1, TINY | {"large"})], 0.0)
    assert {pool.acquire(Request("large"), 0.0).backend.id for _request in range(5)} == {"m2"}


def test_nothing_is_used_before_it_was_seen(make_pool):
    pool = make_pool({"m1": "madrid"}, ready=False)
    with pytest.raises(NoBackend, match="1 unknown"):
        pool.acquire(REQUEST, 0.0)


@pytest.mark.parametrize("count", [1, 2, 6, 50])
def test_a_burst_goes_one_to_each(make_pool, count):
    pool = make_pool({f"m{number}": "madrid" for number in range(count)})
    for burst in (1, 2, 3):
        assert Counter(pool.acquire(REQUEST, 0.0).backend.id for _request in range(count)).most_common(1)[0][1] == 1
        assert set(in_flight(pool).values()) == {burst}


def test_idle_backends_take_turns(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid", "m3": "madrid"})
    turns = []
    for _request in range(6):
        lease = pool.acquire(REQUEST, 0.0)
        turns.append(lease.backend.id)
        pool.release(lease, Outcome.SUCCESS, 0.0)
    assert turns == ["m1", "m2", "m3"] * 2


# Ends


def test_a_lease_ends_once(make_pool):
    pool = make_pool({"m1": "madrid"}, failures=2)
    first, second = pool.acquire(REQUEST, 0.0), pool.acquire(REQUEST, 0.0)
    for _call in range(3):
        pool.release(first, Outcome.FAILURE, 1.0)
    assert in_flight(pool) == {"m1": 1}
    assert pool.snapshot(1.0)[0]["failures"] == 1
    pool.release(second, Outcome.SUCCESS, 1.0)
    pool.release(second, Outcome.FAILURE, 1.0)
    assert pool.snapshot(1.0)[0] | {"in_flight": 0, "failures": 0, "served": 1} == pool.snapshot(1.0)[0]


@pytest.mark.parametrize(
    ("outcomes", "state", "served"),
    [
        pytest.param("SS", "closed", 2, id="served"),
        pytest.param("FF", "open", 0, id="failed"),
        pytest.param("FSF", "closed", 1, id="not-consecutive"),
        pytest.param("FAF", "open", 0, id="abandoned-between"),
        pytest.param("AAA", "closed", 0, id="abandoned"),
    ],
)
def test_what_the_ends_do(make_pool, outcomes, state, served):
    pool = make_pool({"m1": "madrid"})
    meaning = {"S": Outcome.SUCCESS, "F": Outcome.FAILURE, "A": Outcome.ABANDONED}
    for letter in outcomes:
        pool.release(pool.acquire(REQUEST, 0.0), meaning[letter], 0.0)
    seen = pool.snapshot(0.0)[0]
    assert (seen["state"], seen["served"], seen["in_flight"]) == (state, served, 0)


def test_exactly_one_trial_and_everyone_is_back_after_it(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"}, cooldown=10.0)
    take_out(pool, "m1", 0.0)
    assert {pool.acquire(REQUEST, 9.9).backend.id for _request in range(5)} == {"m2"}
    leases = [pool.acquire(REQUEST, 10.0) for _request in range(5)]
    assert Counter(lease.backend.id for lease in leases) == {"m1": 1, "m2": 4}
    assert pool.snapshot(10.0)[0]["state"] == "trial"
    pool.release(next(lease for lease in leases if lease.backend.id == "m1"), Outcome.SUCCESS, 20.0)
    assert {pool.acquire(REQUEST, 20.0).backend.id for _request in range(3)} == {"m1"}


def test_a_trial_whose_client_left_is_given_to_the_next(make_pool):
    pool = make_pool({"m1": "madrid"}, cooldown=10.0)
    take_out(pool, "m1", 0.0)
    pool.release(pool.acquire(REQUEST, 10.0), Outcome.ABANDONED, 11.0)
    trial = pool.acquire(REQUEST, 11.0)
    with pytest.raises(NoBackend, match="1 on trial"):
        pool.acquire(REQUEST, 11.0)
    pool.release(trial, Outcome.FAILURE, 12.0)
    assert pool.snapshot(12.0)[0]["opened_until"] == 22.0


# Watching


def test_a_backend_that_becomes_ready_is_used_at_once(make_pool):
    pool = make_pool({"m1": "madrid"})
    take_out(pool, "m1", 0.0)
    pool.report("m1", Health.READY, 1.0)  # it always was: no news
    assert pool.snapshot(1.0)[0]["state"] == "open"
    pool.report("m1", Health.DOWN, 2.0, "connection refused")
    assert pool.snapshot(2.0)[0]["detail"] == "connection refused"
    pool.report("m1", Health.READY, 3.0)
    assert pool.acquire(REQUEST, 3.0).backend.id == "m1"
    assert pool.snapshot(3.0)[0] | {"state": "closed", "failures": 0, "detail": ""} == pool.snapshot(3.0)[0]


def test_streams_that_died_with_a_server_do_not_count_against_the_new_one(make_pool):
    pool = make_pool({"m1": "madrid"})
    leases = [pool.acquire(REQUEST, 0.0) for _request in range(5)]
    pool.report("m1", Health.DOWN, 1.0)
    pool.report("m1", Health.READY, 2.0)
    for lease in leases:
        pool.release(lease, Outcome.FAILURE, 3.0)
    assert pool.acquire(REQUEST, 3.0).backend.id == "m1"
    assert in_flight(pool) == {"m1": 1}


def test_news_of_a_backend_that_left_are_ignored(make_pool):
    pool = make_pool({"m1": "madrid"})
    pool.report("p9", Health.READY, 0.0)
    assert in_flight(pool) == {"m1": 0}


# Change of the inventory


def test_those_that_stay_keep_their_state(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"})
    take_out(pool, "m1", 0.0)
    lease = pool.acquire(REQUEST, 0.0)
    kept = {one["id"]: one for one in pool.snapshot(0.0)}
    pool.replace([Backend("m3", "madrid", 1, TINY), Backend("m2", "paris", 4, TINY), Backend("m1", "madrid", 1, TINY)], 1.0)
    new, m2, m1 = pool.snapshot(1.0)
    assert (new["id"], new["health"], new["in_flight"]) == ("m3", "unknown", 0)
    assert m1 == kept["m1"]
    assert m2 == kept["m2"] | {"zone": "paris", "slots": 4, "in_flight": 1}
    pool.release(lease, Outcome.SUCCESS, 2.0)
    assert in_flight(pool) == {"m3": 0, "m2": 0, "m1": 0}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_lease_outlives_its_backend(make_pool, outcome):
    pool = make_pool({"m1": "madrid"})
    lease = pool.acquire(REQUEST, 0.0)
    pool.replace([], 1.0)
    with pytest.raises(NoBackend):
        pool.acquire(REQUEST, 1.0)
    pool.replace([lease.backend], 2.0)
    pool.release(lease, outcome, 3.0)
    assert [(one["in_flight"], one["failures"], one["served"]) for one in pool.snapshot(3.0)] == [(0, 0, 0)]


def test_new_rules_hold_at_once(make_pool):
    pool = make_pool({"m1": "madrid", "p1": "paris"})
    pool.configure(zone="paris", zone_policy="local_only", failures=1, cooldown=7.0)
    lease = pool.acquire(REQUEST, 0.0)
    pool.release(lease, Outcome.FAILURE, 0.0)
    assert lease.backend.id == "p1"
    assert pool.snapshot(0.0)[1]["opened_until"] == 7.0


# Refusals


@pytest.mark.parametrize(
    ("healths", "zone_policy", "reason", "retry_after"),
    [
        pytest.param({"m1": Health.UNKNOWN}, "any", "no backend can take model 'tiny' now: 1 unknown", 1, id="just-started"),
        pytest.param({"m1": Health.LOADING}, "any", "no backend can take model 'tiny' now: 1 loading", 2, id="loading"),
        pytest.param({"m1": Health.REFUSED}, "any", "no backend can take model 'tiny' now: 1 refused", 5, id="refused"),
        pytest.param(
            {"m1": Health.DOWN, "m2": Health.DOWN, "p1": Health.LOADING},
            "prefer_local",
            "no backend can take model 'tiny' now: 2 down, 1 loading",
            2,
            id="several",
        ),
        pytest.param(
            {"m1": Health.DOWN, "p1": Health.READY},
            "local_only",
            "no backend in zone 'madrid' can take model 'tiny' now: 1 down",
            5,
            id="zone-down",
        ),
        pytest.param({"p1": Health.READY}, "local_only", "no backend in zone 'madrid' has model 'tiny'", 5, id="zone-empty"),
        pytest.param({}, "any", "no backend has model 'tiny'", 5, id="nothing-at-all"),
    ],
)
def test_a_refusal_says_why_and_when(make_pool, healths, zone_policy, reason, retry_after):
    pool = make_pool({name: ZONES[name] for name in healths}, zone_policy=zone_policy)
    for name, health in healths.items():
        pool.report(name, health, 0.0)
    with pytest.raises(NoBackend) as refusal:
        pool.acquire(REQUEST, 0.0)
    assert (refusal.value.reason, refusal.value.retry_after) == (reason, retry_after)
    assert str(refusal.value) == reason


def test_a_model_that_only_others_have_is_not_there(make_pool):
    with pytest.raises(NoBackend, match="no backend has model 'large'"):
        make_pool({"m1": "madrid"}).acquire(Request("large"), 0.0)


@pytest.mark.parametrize(
    ("now", "retry_after"),
    [
        pytest.param(5.0, 30, id="at-once"),
        pytest.param(5.5, 30, id="half-a-second-later"),
        pytest.param(5.75, 30, id="rounded-up"),
        pytest.param(20.0, 15, id="halfway"),
        pytest.param(34.999, 1, id="never-zero"),
    ],
)
def test_after_a_cooldown_it_is_worth_asking_again(make_pool, now, retry_after):
    pool = make_pool({"m1": "madrid", "m2": "madrid"})
    take_out(pool, "m1", 5.0)
    take_out(pool, "m2", 6.0)
    with pytest.raises(NoBackend, match="2 cooling down") as refusal:
        pool.acquire(REQUEST, now)
    assert refusal.value.retry_after == retry_after
    assert pool.acquire(REQUEST, now + retry_after).backend.id == "m1"


def test_the_earliest_help_counts(make_pool):
    pool = make_pool({"m1": "madrid", "m2": "madrid"})
    take_out(pool, "m1", 0.0)
    pool.report("m2", Health.LOADING, 0.0)
    with pytest.raises(NoBackend, match="1 cooling down, 1 loading") as refusal:
        pool.acquire(REQUEST, 0.0)
    assert refusal.value.retry_after == 2
    with pytest.raises(NoBackend) as refusal:
        pool.acquire(REQUEST, 29.5)
    assert refusal.value.retry_after == 1


# Faulty input


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param({"zone_policy": "Local_only"}, "'Local_only' is not a valid ZonePolicy", id="zone-policy"),
        pytest.param({"failures": 0}, "failures is 0: a backend can be taken out after 1 failure or more", id="failures"),
        pytest.param({"cooldown": -1.0}, "cooldown is -1.0: give seconds, 0 or more", id="cooldown-negative"),
        pytest.param({"cooldown": math.inf}, "cooldown is inf: give seconds, 0 or more", id="cooldown-endless"),
        pytest.param({"cooldown": math.nan}, "cooldown is nan: give seconds, 0 or more", id="cooldown-no-number"),
    ],
)
def test_faulty_rules_are_refused_and_change_nothing(make_pool, rules, message):
    pool = make_pool({"m1": "madrid", "p1": "paris"}, zone_policy="local_only")
    with pytest.raises(ValueError, match=message):
        pool.configure(**({"zone": "paris", "zone_policy": "any"} | rules))
    assert {pool.acquire(REQUEST, 0.0).backend.id for _request in range(3)} == {"m1"}


def test_a_backend_without_slots_is_refused():
    with pytest.raises(ValueError, match="backend 'm1' has 0 slots: give it at least 1"):
        Backend("m1", "madrid", 0)


def test_two_backends_of_one_name_are_refused(make_pool):
    pool = make_pool({"m1": "madrid"})
    with pytest.raises(ValueError, match="two backends are called 'm2': ids must differ"):
        pool.replace([Backend("m2", "madrid"), Backend("m2", "paris")], 0.0)
    assert in_flight(pool) == {"m1": 0}


def test_a_snapshot_is_plain_data(make_pool):
    pool = make_pool({"m1": "madrid"})
    pool.report("m1", Health.REFUSED, 0.0, "its key is refused (401)")
    seen = pool.snapshot(0.0)
    assert json.loads(json.dumps(seen)) == seen
    assert seen == [
        {
            "id": "m1",
            "zone": "madrid",
            "slots": 1,
            "health": "refused",
            "detail": "its key is refused (401)",
            "in_flight": 0,
            "reported": 0,
            "state": "closed",
            "failures": 0,
            "opened_until": None,
            "served": 0,
        }
    ]
    assert {type(value) for value in seen[0].values()} == {str, int, type(None)}


# Anything in any order


class Expected:
    """What must be so for one backend, told in another way than the pool's: by sets of leases instead of counters."""

    def __init__(self, backend):
        self.backend = backend
        self.health = Health.UNKNOWN
        self.open_leases = set()
        self.counting = set()  # leases whose end says something about the backend as it is now
        self.failed = 0
        self.blocked_until = None
        self.trial = None
        self.last_chosen = -1

    def is_usable(self, model, now):
        breaker_lets_pass = self.blocked_until is None or (now >= self.blocked_until and self.trial is None)
        return self.health is Health.READY and model in self.backend.models and breaker_lets_pass

    def forget(self):
        self.counting, self.trial = set(), None

    def saw(self, health):
        if health is Health.READY and self.health is not Health.READY:
            self.failed, self.blocked_until = 0, None
            self.forget()
        self.health = health

    def begins(self, lease, turn):
        self.open_leases.add(lease)
        self.counting.add(lease)
        self.last_chosen = turn
        if self.blocked_until is not None:
            assert self.trial is None, "two trials"
            self.trial = lease

    def ends(self, lease, outcome, now):
        self.open_leases.discard(lease)
        if lease not in self.counting:
            return
        self.counting.discard(lease)
        if outcome is Outcome.SUCCESS:
            self.failed = 0
            if self.trial is lease:
                self.blocked_until = None
                self.forget()
        elif outcome is Outcome.FAILURE:
            self.failed += 1
            if self.failed >= 2 or self.trial is lease:
                self.blocked_until = now + 30.0
                self.forget()
        elif self.trial is lease:
            self.trial = None


class Machine:
    """Does random things to a pool and looks after each whether it is as it must be."""

    INVENTORY = tuple(
        Backend(f"{zone}-{number}", zone, slots, frozenset(models))
        for zone in ("madrid", "paris", "berlin")
        for number, slots, models in ((1, 1, {"tiny"}), (2, 2, {"tiny"}), (3, 4, {"tiny", "large"}))
    )

    def __init__(self, zone_policy, seed):
        self.random = random.Random(seed)
        self.zone_policy = zone_policy
        self.now = 0.0
        self.turn = 0
        self.pool = Pool([], policy=LeastBusy(), zone="madrid", zone_policy=zone_policy)
        self.expected = {}
        self.leases = []  # with the state of its backend; of removed backends too
        self.ended = []
        self.seen = Counter()
        self.replace()

    def acquire(self):
        model = self.random.choice(["tiny", "tiny", "tiny", "large"])
        tried = self.random.sample([one.id for one in self.INVENTORY], self.random.choice([0, 0, 1, 3, 8]))
        usable = [one for one in self.expected.values() if one.is_usable(model, self.now)]
        if self.zone_policy == "local_only":
            usable = [one for one in usable if one.backend.zone == "madrid"]
        self.turn += 1
        try:
            lease = self.pool.acquire(Request(model), self.now, tried)
        except NoBackend as refusal:
            assert not usable, refusal
            assert isinstance(refusal.retry_after, int)
            assert 1 <= refusal.retry_after <= 30
            self.seen["refused"] += 1
            return
        name = lease.backend.id
        one = self.expected[name]
        assert one in usable
        untried = [other for other in usable if other.backend.id not in tried]
        rivals = untried or usable
        assert one in rivals
        if self.zone_policy == "prefer_local":
            local = [other for other in rivals if other.backend.zone == "madrid"]
            rivals = local or rivals
            assert one in rivals
        assert one is min(rivals, key=lambda other: (len(other.open_leases) / other.backend.slots, other.last_chosen))
        one.begins(lease, self.turn)
        self.leases.append((lease, one))
        self.seen["acquired"] += 1
        self.seen["trials"] += one.trial is lease
        self.seen["again"] += not untried
        self.seen["elsewhere"] += lease.backend.zone != "madrid"

    def release(self):
        if self.leases:
            lease, one = self.leases.pop(self.random.randrange(len(self.leases)))
            outcome = self.random.choice(list(Outcome))
            self.pool.release(lease, outcome, self.now)
            one.ends(lease, outcome, self.now)
            self.ended = [*self.ended[-5:], lease]

    def release_again(self):
        if self.ended:
            self.pool.release(self.random.choice(self.ended), self.random.choice(list(Outcome)), self.now)

    def report(self):
        name = self.random.choice(self.INVENTORY).id
        health = self.random.choice([*Health, Health.READY, Health.READY, Health.READY])
        self.pool.report(name, health, self.now)
        if name in self.expected:
            self.expected[name].saw(health)

    def wait(self):
        self.now += self.random.choice([0.0, 0.5, 5.0, 29.9])

    def replace(self):
        backends = self.random.sample(self.INVENTORY, self.random.randint(3, len(self.INVENTORY)))
        self.pool.replace(backends, self.now)
        self.expected = {one.id: self.expected.get(one.id) or Expected(one) for one in backends}

    def look(self):
        seen = self.pool.snapshot(self.now)
        assert [one["id"] for one in seen] == list(self.expected)
        for one in seen:
            expected = self.expected[one["id"]]
            assert one["in_flight"] == len(expected.open_leases) >= 0
            assert (one["failures"] > 0) == (expected.failed > 0)
            assert one["opened_until"] == expected.blocked_until
            assert (one["state"] == "open") == (expected.blocked_until is not None and self.now < expected.blocked_until)
            assert one["health"] == expected.health.value


@pytest.mark.parametrize("zone_policy", ["any", "prefer_local", "local_only"])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens(zone_policy, seed):
    machine = Machine(zone_policy, seed)
    actions = {"acquire": 40, "release": 36, "release_again": 3, "report": 15, "wait": 5, "replace": 0.3}
    for action in machine.random.choices(list(actions), list(actions.values()), k=2500):
        getattr(machine, action)()
        machine.look()
    # The walk came by where it should.
    wanted = {"acquired", "refused", "trials", "again"} | ({"elsewhere"} if zone_policy != "local_only" else set())
    assert wanted <= set(+machine.seen)
    assert zone_policy != "local_only" or not machine.seen["elsewhere"]
    for lease, one in machine.leases:
        machine.pool.release(lease, Outcome.ABANDONED, machine.now)
        one.ends(lease, Outcome.ABANDONED, machine.now)
    machine.look()
    assert {one["in_flight"] for one in machine.pool.snapshot(machine.now)} == {0}


def test_what_a_server_says_of_its_load_counts_where_it_is_more_than_ours(make_pool):
    """Another balancer has sent it requests, too."""
    pool = make_pool({"m1": "madrid", "m2": "madrid"})
    pool.report("m1", Health.READY, 0.0, load=3)
    leases = [pool.acquire(REQUEST, 0.0) for _request in range(3)]
    assert {lease.backend.id for lease in leases} == {"m2"}
    pool.report("m1", Health.READY, 1.0, load=2)
    assert pool.acquire(REQUEST, 1.0).backend.id == "m1"
    assert [(one["in_flight"], one["reported"]) for one in pool.snapshot(1.0)] == [(1, 2), (3, 0)]


def test_a_server_that_drains_takes_nothing_new_and_is_no_failure(make_pool):
    pool = make_pool({"m1": "madrid"})
    pool.report("m1", Health.DRAINING, 0.0)
    with pytest.raises(NoBackend, match="1 draining") as refused:
        pool.acquire(REQUEST, 0.0)
    assert refused.value.retry_after == 2
    pool.report("m1", Health.READY, 1.0)
    assert pool.acquire(REQUEST, 1.0).backend.id == "m1"
