# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pool with as many backends and developers as a large organisation has, in simulated time.

No test here looks at a clock; ``tools/router_scale.py`` measures what a decision costs.
"""

from __future__ import annotations

import gc
import heapq
import importlib.util
import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from copilot_router.policy import LeastBusy
from copilot_router.pool import Backend, Health, Lease, NoBackend, Outcome, Pool, Request

BACKENDS = 200
DEVELOPERS = 2000
REQUEST = Request("tiny")
TOOL = Path(__file__).resolve().parents[3] / "tools" / "router_scale.py"


@dataclass(eq=False)
class Job:
    """One request of a developer, with all its attempts."""

    developer: int
    asked: float
    tried: set[str] = field(default_factory=set)
    lease: Lease | None = None
    done: bool = False


@dataclass(eq=False)
class Machine:
    """A real backend, which works on as many requests as it has slots; the others wait."""

    backend: Backend
    alive: bool = True
    since: float = 0.0  # it lives, or is dead
    lived: float = 0.0
    worked: float = 0.0  # summed over its slots
    running: dict[Job, float] = field(default_factory=dict)  # since when
    waiting: list[Job] = field(default_factory=list)


class Fleet:
    """Developers who think, ask and wait; machines that work, die, load a model and come back.

    Times are in seconds. A dead machine refuses connections at once; the watcher notices two seconds later. A request that
    fails is tried elsewhere, one for which there is no backend is asked again when the refusal says so.
    """

    ANSWER = (3.0, 1.0)  # of a lognormal distribution: mean 33 s, one in a hundred above 200 s
    IMPATIENT = 0.05  # of the requests are given up while they wait or are answered
    LIFE = 800.0  # mean; each dies once at most
    DEAD = (10.0, 120.0)
    LOADING = 20.0
    NOTICED = 2.0

    def __init__(self, *, thinking, developers=DEVELOPERS, zones=("madrid",), zone_policy="any"):
        self.random = random.Random(1)
        backends = [
            Backend(f"b{number}", zones[number % len(zones)], 1 + (number % 5 == 0), frozenset({"tiny"}))
            for number in range(BACKENDS)
        ]
        self.pool = Pool(backends, policy=LeastBusy(), zone="madrid", zone_policy=zone_policy)
        self.machines = {one.id: Machine(one) for one in backends}
        self.zone_policy = zone_policy
        self.thinking = thinking  # mean
        self.now = 0.0
        self.agenda = []
        self.order = itertools.count()
        self.open = True  # for new requests and deaths
        self.asked = self.answered = self.left = self.refused = self.retried = 0
        self.sent = Counter()  # by zone
        for name in self.machines:
            self.pool.report(name, Health.READY, 0.0)
        for developer in range(developers):
            self.think(developer)

    def at(self, delay, action, *facts):
        heapq.heappush(self.agenda, (self.now + delay, next(self.order), action, facts))

    def run(self, until=math.inf):
        while self.agenda and self.agenda[0][0] <= until:
            self.now, _order, action, facts = heapq.heappop(self.agenda)
            action(*facts)

    def close(self):
        """Lets everything that runs come to its end."""
        self.open = False
        self.run()

    # Developers

    def think(self, developer):
        self.at(self.random.expovariate(1 / self.thinking), self.ask, developer)

    def ask(self, developer):
        if self.open:
            self.asked += 1
            job = Job(developer, self.now)
            if self.random.random() < self.IMPATIENT:
                self.at(self.random.uniform(0, 60), self.leave, job)
            self.attempt(job)

    def attempt(self, job):
        while not job.done:
            try:
                job.lease = self.pool.acquire(REQUEST, self.now, job.tried)
            except NoBackend as refusal:
                self.refused += 1
                job.tried.clear()
                self.at(refusal.retry_after, self.attempt, job)
                return
            machine = self.machines[job.lease.backend.id]
            # Again at the same one only when there is no other: where a whole zone is dead, until the breakers notice.
            assert machine.backend.id not in job.tried or self.zone_policy == "local_only"
            if machine.alive:
                self.sent[machine.backend.zone] += 1
                machine.waiting.append(job)
                self.work(machine)
                assert self.zone_policy != "any" or job not in machine.waiting or not self.could_start(job)
                return
            self.fail(job)

    def fail(self, job):
        self.retried += 1
        job.tried.add(job.lease.backend.id)
        self.pool.release(job.lease, Outcome.FAILURE, self.now)
        job.lease = None

    def leave(self, job):
        if not job.done:
            self.left += 1
            self.end(job, Outcome.ABANDONED)

    def end(self, job, outcome):
        job.done = True
        self.think(job.developer)
        if job.lease:
            self.pool.release(job.lease, outcome, self.now)
            machine = self.machines[job.lease.backend.id]
            if job in machine.running:
                machine.worked += self.now - machine.running.pop(job)
            else:
                machine.waiting.remove(job)
            self.work(machine)

    # Machines

    def work(self, machine):
        while machine.waiting and len(machine.running) < machine.backend.slots:
            job = machine.waiting.pop(0)
            machine.running[job] = self.now
            self.at(self.random.lognormvariate(*self.ANSWER), self.finish, machine, job, job.lease)

    def finish(self, machine, job, lease):
        if job.lease is lease and not job.done:
            self.answered += 1
            self.end(job, Outcome.SUCCESS)

    def could_start(self, job):
        """Returns whether there is a free slot that the job may use. What the zone rule says is not looked at."""
        return any(
            one.alive and len(one.running) < one.backend.slots and name not in job.tried for name, one in self.machines.items()
        )

    def let_die(self):
        for name in self.machines:
            self.at(self.random.expovariate(1 / self.LIFE), self.die, [name], self.random.uniform(*self.DEAD))

    def die(self, names, seconds):
        """Lets these machines die together, for so many seconds."""
        jobs = []
        for name in names if self.open else []:
            machine = self.machines[name]
            machine.alive = False
            machine.lived += self.now - machine.since
            machine.worked += sum(self.now - since for since in machine.running.values())
            jobs += [*machine.running, *machine.waiting]
            machine.running, machine.waiting = {}, []
            self.at(self.NOTICED, self.see, name, Health.DOWN)
            self.at(seconds, self.see, name, Health.LOADING)
            self.at(seconds + self.LOADING, self.come_back, name)
        for job in jobs:
            self.fail(job)
        for job in jobs:
            self.attempt(job)

    def see(self, name, health):
        self.pool.report(name, health, self.now)

    def come_back(self, name):
        machine = self.machines[name]
        machine.alive, machine.since = True, self.now
        self.see(name, Health.READY)

    def loads(self):
        """Returns which part of its life each machine worked, for those that lived for most of the time."""
        loads = []
        for one in self.machines.values():
            lived = one.lived + (self.now - one.since) * one.alive
            worked = one.worked + sum(self.now - since for since in one.running.values())
            if lived > self.now / 2:
                loads.append(worked / lived / one.backend.slots)
        return loads


def held(root):
    """Returns how many containers and instances an object keeps alive: what can grow."""
    seen, todo = set(), [root]
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, (type, ModuleType, FunctionType, Enum, str, int, float, type(None))):
            seen.add(id(one))
            todo += gc.get_referents(one)
    return len(seen)


@pytest.mark.parametrize(
    ("thinking", "seconds", "busiest_to_least"),
    [
        pytest.param(450.0, 1000.0, 6.0, id="with-idle-backends"),
        pytest.param(60.0, 800.0, 1.1, id="more-than-they-can-do"),
    ],
)
def test_nobody_starves(thinking, seconds, busiest_to_least):
    fleet = Fleet(thinking=thinking)
    held_before = held(fleet.pool)
    fleet.let_die()
    fleet.run(until=seconds)
    assert held(fleet.pool) == held_before
    assert fleet.asked > 2 * DEVELOPERS
    assert fleet.retried > BACKENDS / 2  # backends did die under load
    loads = fleet.loads()
    assert len(loads) > BACKENDS * 0.9
    assert max(loads) < busiest_to_least * min(loads)
    fleet.close()
    assert fleet.refused == 0
    assert fleet.answered + fleet.left == fleet.asked
    assert {(one["in_flight"], one["health"], one["state"]) for one in fleet.pool.snapshot(fleet.now)} == {(0, "ready", "closed")}


@pytest.mark.parametrize("zone_policy", ["any", "prefer_local", "local_only"])
def test_a_zone_dies_and_returns(zone_policy):
    fleet = Fleet(thinking=60.0, developers=200, zones=("madrid", "paris", "berlin"), zone_policy=zone_policy)
    fleet.run(until=300.0)
    before = fleet.sent.copy()
    fleet.now = 300.0
    fleet.die([name for name, machine in fleet.machines.items() if machine.backend.zone == "madrid"], 100.0)
    fleet.run(until=420.0 - 0.1)  # dead for 100 s, loading for 20
    during = fleet.sent - before
    assert during["madrid"] == 0
    fleet.run(until=420.0 + 5.0)  # who was refused was told to come back by then
    assert not any(action == fleet.attempt for _time, _order, action, _facts in fleet.agenda)
    fleet.close()
    assert fleet.answered + fleet.left == fleet.asked
    if zone_policy == "local_only":
        assert (set(fleet.sent), set(during)) == ({"madrid"}, set())
        assert fleet.refused > 0
    else:
        assert min(during["paris"], during["berlin"]) > 0
        assert (set(before) == {"madrid"}) is (zone_policy == "prefer_local")
        assert fleet.refused == 0


def test_an_inventory_that_changes_for_ever_leaves_nothing_behind():
    pool = Pool([], policy=LeastBusy(), zone="madrid", zone_policy="any")
    sizes = set()
    for turn in range(50):
        names = [f"b{turn}-{number}" for number in range(20)]
        pool.replace([Backend(name, "madrid", 1, frozenset({"tiny"})) for name in names], float(turn))
        for name in names:
            pool.report(name, Health.READY, float(turn))
        leases = [pool.acquire(REQUEST, float(turn)) for _request in range(40)]
        for lease in leases[:30]:  # the others are never released
            pool.release(lease, Outcome.SUCCESS, float(turn))
        sizes.add(held(pool))
    assert len(sizes) == 1


class CountingModels(frozenset):
    """Counts how often somebody asked whether a model is among them."""

    looks = 0

    def __contains__(self, name):
        CountingModels.looks += 1
        return super().__contains__(name)


class CountingPolicy(LeastBusy):
    def choose(self, candidates, request, now):
        CountingModels.looks += len(candidates)
        return super().choose(candidates, request, now)


@pytest.mark.parametrize("zone_policy", ["any", "prefer_local", "local_only"])
@pytest.mark.parametrize("usable", [True, False], ids=["usable", "all-out"])
def test_a_decision_looks_at_each_backend_at_most_twice(usable, zone_policy):
    models = CountingModels({"tiny"})
    backends = [Backend(f"b{number}", "madrid", 1, models) for number in range(BACKENDS)]
    pool = Pool(backends, policy=CountingPolicy(), zone="madrid", zone_policy=zone_policy, failures=1)
    for backend in backends:
        pool.report(backend.id, Health.READY, 0.0)
    leases = [pool.acquire(REQUEST, 0.0) for _backend in backends]
    for lease in leases if not usable else []:
        pool.release(lease, Outcome.FAILURE, 0.0)
    CountingModels.looks = 0
    if usable:
        pool.acquire(REQUEST, 1.0, tried={"b0", "b1"})
    else:
        with pytest.raises(NoBackend, match="200 cooling down"):
            pool.acquire(REQUEST, 1.0)
    assert BACKENDS <= CountingModels.looks <= 2 * BACKENDS


@pytest.mark.parametrize("policy", ["least-busy", "warmest"])
def test_the_measurement_gives_figures(policy):
    spec = importlib.util.spec_from_file_location("router_scale", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    figures = tool.measure_decisions(backends=3, developers=10, policy=policy)
    assert figures["backends"] == 3
    assert figures["developers"] == 10
    assert 0 < figures["decision_p50_us"] <= figures["decision_p99_us"]
    assert 0 < figures["refusal_p50_us"] <= figures["refusal_p99_us"]
    assert min(figures["pool_bytes"], figures["lease_bytes"]) > 0
