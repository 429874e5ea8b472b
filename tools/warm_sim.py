# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Simulates developers with agents, balancers and llama-servers, to compare ways to choose servers.

Sessions are made from the statistics of 710 real ones (length, growth, answers, think times, edits, sub-agents, compaction), or
replayed from a file of condensed ones. A server computes prompts one after the other, as a CPU does, and keeps in slots and host
cache what llama-server keeps, by the rules in ``engine_model``. The balancer knows what it would know: sizes in characters, and
what answers say. Times are those of a 24B model on 16 processors; they are simulated, and only ratios mean something.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import itertools
import json
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "roles/router/files"), str(PROJECT / ".collections")]

from ansible_collections.slm.copilot.plugins.plugin_utils._reports.charts import Row, bar_chart
from copilot_router import slots
from copilot_router.conversations import Chain
from copilot_router.holdings import Begun, Holdings, Index
from copilot_router.policy import LeastBusy, Policy
from copilot_router.pool import Backend, Candidate, Health, Outcome, Pool, Request
from copilot_router.tokens import Timings
from copilot_router.warmest import Warmest
from engine_model import Held, Store

CONTEXT = 32768
PROMPT, ANSWER, BATCH = 60.0, 8.0, 2048.0  # tokens in a second; while a prompt is computed, others get one token for each batch
SIMILARITY = 0.9
RESTART = 60.0  # seconds that a server takes to restart
MODEL = "m"


# Sessions


@dataclass(frozen=True)
class Part:
    """A message: an identity, and its tokens."""

    name: str
    tokens: int


@dataclass(eq=False)
class Ask:
    """One request: what it sends, what it gets, and what comes before and after it."""

    parts: tuple[Part, ...]
    answer: int
    think: float  # seconds between what it waits for and itself
    then: list[Ask] = field(default_factory=list)  # asked when this is answered
    waits_for: int = 1  # how many answers come before it
    developer: int = 0
    session: int = 0
    ratio: float = 3.6  # characters for each token of this conversation
    first: bool = False  # nothing of it was sent before
    counts: bool = True  # in the times to the first token: titles are no turns


def lognormal(dice: random.Random, p50: float, p90: float) -> float:
    return p50 * math.exp(dice.gauss(0, 1) * math.log(p90 / p50) / 1.2816)


def conversation(
    dice: random.Random, name: str, trunk: tuple[Part, ...], turns: int, first: float, developer: int, session: int, scale: float
) -> list[Ask]:
    """Returns the turns of a conversation, each after the one before. Prompts longer than the context are compacted."""
    limit, ratio = int(CONTEXT * scale), dice.uniform(3.2, 4.2)
    parts = [*trunk, Part(f"{name}/start", int(first))]
    asks: list[Ask] = []
    for number in range(turns):
        answer = int(min(4000, max(20, lognormal(dice, 216, 898))) * max(scale, 0.2))
        if sum(part.tokens for part in parts) + answer > limit:
            parts = [*trunk, Part(f"{name}/compact{number}", int(dice.uniform(2000, 4000) * scale))]
        elif number and dice.random() < 0.023:
            cut = dice.randrange(len(trunk), len(parts))
            parts[cut] = Part(f"{name}/edit{number}", parts[cut].tokens)
        person = dice.random() < 0.13
        think = min(3600.0, lognormal(dice, 127, 1543) if person else lognormal(dice, 9, 74)) if number else 0.0
        ask = Ask(tuple(parts), answer, think, developer=developer, session=session, ratio=ratio, first=not number)
        if asks:
            asks[-1].then.append(ask)
        asks.append(ask)
        growth = int(min(12000, max(30, lognormal(dice, 655, 3615))) * scale)
        parts += [Part(f"{name}/answer{number}", answer), Part(f"{name}/result{number}", growth)]
    return asks


def developers(
    seed: int, number: int, *, turns: int = 30, scale: float = 1.0, shared_trunk: bool = True, spread: float = 600.0
) -> list[Ask]:
    """Returns what so many developers ask first. All else follows from that."""
    starts = []
    for developer in range(number):
        dice = random.Random(f"{seed} {developer}")
        whose = "" if shared_trunk else f" of {developer}"
        trunk = (Part(f"tools{whose}", int(9800 * scale)), Part(f"system{whose}", int(2800 * scale)))
        count = max(3, min(3 * turns, round(lognormal(dice, turns, turns * 3.4))))
        first = min(14000, max(1500, lognormal(dice, 6000, 12000))) * scale
        asks = conversation(dice, f"{seed}/{developer}", trunk, count, first, developer, developer, scale)
        asks[0].think = dice.uniform(0, spread)
        title = (Part("title system", 150), Part(f"{seed}/{developer}/title", 400))
        starts.append(asks[0])
        starts.append(Ask(title, 12, asks[0].think + 0.5, developer=developer, session=developer, first=True, counts=False))
        for index in range(1, len(asks) - 1):
            if dice.random() < 0.02:
                _with_agents(dice, asks, index, f"{seed}/{developer}/{index}", developer, scale)
    return starts


def _with_agents(dice: random.Random, asks: list[Ask], index: int, name: str, developer: int, scale: float) -> None:
    """Has two to four sub-agents work between two turns, with tools of their own."""
    after = asks[index + 1]
    number = dice.randint(2, 4)
    trunk = (Part("agent tools", int(5500 * scale)), Part("agent system", int(1500 * scale)))
    asks[index].then.remove(after)
    for agent in range(number):
        turns = max(2, round(lognormal(dice, 8, 20)))
        first = max(500, lognormal(dice, 2500, 6000)) * scale
        found = conversation(dice, f"{name}/{agent}", trunk, min(turns, 25), first, developer, developer, scale)
        found[0].think = 1.0
        asks[index].then.append(found[0])
        found[-1].then.append(after)
    after.waits_for = number


def replayed(path: Path, seed: int, number: int) -> list[Ask]:
    """Returns sessions of a file as developers, cut at the context."""
    sessions = json.loads(path.read_text())
    random.Random(seed).shuffle(sessions)
    fit = [one for one in sessions if one["requests"] and one["requests"][0].get("in", CONTEXT) < 26000]
    starts = []
    for developer, session in enumerate(itertools.islice(itertools.cycle(fit), number)):
        trunk = (session["tool_tokens"] + session["system_tokens"]) // 64
        before: Ask | None = None
        for request in session["requests"]:
            if "agent" in request:
                continue
            if request["in"] + request["out"] > CONTEXT:
                break
            blocks = [block for low, high in request["blocks"] for block in range(low, high + 1)]
            names = [f"trunk{place}" if place < trunk else f"{developer}/{block}" for place, block in enumerate(blocks)]
            parts = [Part(name, 64) for name in names[:-1]] + [Part(names[-1], max(1, request["in"] - 64 * (len(names) - 1)))]
            think = min(3600.0, request["think"]) if before else random.Random(f"{seed} {developer}").uniform(0, 600)
            ask = Ask(tuple(parts), request["out"], think, developer=developer, session=developer, first=before is None)
            (before.then if before else starts).append(ask)
            before = ask
    return starts


# Servers


@dataclass(eq=False)
class Job:
    """A request at a server."""

    ask: Ask
    chain: Chain  # the truth, in tokens
    sent: Chain  # what a router sees, in characters
    arrived: float
    prompt: float = 0.0  # tokens that are still to be computed
    answer: float = 0.0
    cached: int = 0
    started: float = 0.0
    begun: float | None = None  # when the first token came
    lease: Any = None
    ticket: slots.Ticket | None = None  # in the queue of a server's router
    noted: Begun | None = None  # by that router


def chains(ask: Ask, date: str = "") -> tuple[Chain, Chain]:
    """Returns a prompt as it is, in tokens, and as a router sees it, in characters.

    :param date: stands in the system prompt, which is the second part.
    """
    marks, tokens, end, seen = [], [], 0, b""
    for number, part in enumerate(ask.parts):
        seen = hashlib.blake2b(seen + part.name.encode() + (date.encode() if number == 1 else b""), digest_size=12).digest()
        end += part.tokens
        marks.append(seen)
        tokens.append(end)
    truth = Chain(tuple(marks), tuple(tokens))
    return truth, Chain(truth.marks, tuple(round(one * ask.ratio) for one in tokens))


class Server:
    """A llama-server, which chooses its slots. A router before it orders the queue; else the oldest request is next."""

    def __init__(self, name: str, size: int, room: int, routed: bool, speed: float = 1.0) -> None:
        self.name, self.slots, self.speed = name, size, speed
        self.store = Store(size, room, SIMILARITY)
        self.router = slots.Slots({MODEL: size}, patience=math.inf) if routed else None
        if self.router:
            self.router.engine(slots.Health.READY, 0.0)
        self.held = Holdings(Index())  # as the router believes
        self.queue: list[Job] = []
        self.running: dict[int, Job] = {}
        self.now = 0.0
        self.version = 0
        self.alive, self.draining = True, False
        self.computed = 0
        self.used: set[int] = set()

    def advance(self, now: float) -> list[Job]:
        """Works until then; returns what was answered. To be called at each of its events."""
        left = now - self.now
        self.now = now
        done = []
        prompts = [slot for slot in sorted(self.running) if self.running[slot].prompt > 0]
        if prompts:
            job = self.running[prompts[0]]
            job.prompt -= left * self._prompt_speed(job)
            if job.prompt < 1e-6:
                job.prompt = 0.0
                job.begun = now
        for slot in sorted(self.running):
            job = self.running[slot]
            if job.begun is not None and job.begun < now and job.answer > 0:
                job.answer -= left * self._answer_speed(bool(prompts))
                if job.answer < 1e-6:
                    done.append(job)
                    del self.running[slot]
                    self._answered(slot, job)
        return done

    def next_event(self) -> float | None:
        prompts = [slot for slot in sorted(self.running) if self.running[slot].prompt > 0]
        times = [self.running[prompts[0]].prompt / self._prompt_speed(self.running[prompts[0]])] if prompts else []
        speed = self._answer_speed(bool(prompts))
        times += [job.answer / speed for job in self.running.values() if job.prompt == 0]
        return self.now + min(times) if times else None

    def arrive(self, job: Job) -> None:
        """Puts a request into the queue."""
        self.queue.append(job)
        if self.router:
            user, work = str(job.ask.developer), partial(self.held.seconds, job.sent)
            job.ticket = self.router.arrive(MODEL, slots.Role.DEVELOPER, self.now, user, work)

    def start(self) -> None:
        """Assigns slots to queued requests."""
        if self.router:
            turn = {ticket: number for number, ticket in enumerate(self.router.advance(self.now))}
            nexts = sorted((job for job in self.queue if job.ticket in turn), key=lambda job: turn[job.ticket])
        else:
            nexts = self.queue[: self.slots - len(self.running)]
        for job in nexts:
            idle = [slot for slot in range(self.slots) if slot not in self.running]
            self.queue.remove(job)
            if self.router:
                job.noted = self.held.begin(job.sent, self.now)
            slot = self.store.place(job.chain, idle)
            job.cached = self.store.launch(slot, job.chain, idle, self.now)
            job.prompt, job.answer, job.started = float(job.chain.size - job.cached), float(job.ask.answer), self.now
            self.computed += job.chain.size - job.cached
            self.running[slot] = job
            self.used.add(slot)

    def hand_back(self) -> list[Job]:
        """Begins to drain, and returns the queue."""
        left, self.queue, self.draining = self.queue, [], True
        for job in left:
            if self.router and job.ticket:
                self.router.end(job.ticket, slots.Outcome.LEFT)
        return left

    def kill(self) -> list[Job]:
        """Ends it, and returns what was there."""
        left = [*self.running.values(), *self.queue]
        self.running, self.queue, self.alive = {}, [], False
        return left

    def _answered(self, slot: int, job: Job) -> None:
        self.store.slots[slot] = Held(job.chain, job.chain.size + job.ask.answer, self.now)  # type: ignore
        if self.router and job.ticket:
            self.router.end(job.ticket, slots.Outcome.ANSWERED)

    def timings(self, job: Job) -> tuple[int, int, int, float, int, float]:
        """Returns what an answer says, as ``Speeds.learn`` takes it."""
        begun = job.begun if job.begun is not None else self.now
        new = job.chain.size - job.cached
        return job.sent.size, job.cached, new, (begun - job.started) * 1000, job.ask.answer, (self.now - begun) * 1000

    def _prompt_speed(self, job: Job) -> float:
        return self.speed * PROMPT / (1 + (job.chain.size - job.prompt / 2) / 65536)

    def _answer_speed(self, beside_a_prompt: bool) -> float:
        return self.speed * (PROMPT / BATCH if beside_a_prompt else ANSWER)


# Ways to choose a server


class Random(Policy):
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        return self._dice.choice(list(candidates))


class Session(Policy):
    """Each session stays where it began."""

    def __init__(self, first: Policy) -> None:
        self._first, self._there = first, {}

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        session = request.prompt[1]
        for one in candidates:
            if one.backend.id == self._there.get(session):
                return one
        chosen = self._first.choose(candidates, request, now)
        self._there[session] = chosen.backend.id
        return chosen


class Prefix(Policy):
    """The longest match of what was ever sent there, whatever the load."""

    def __init__(self) -> None:
        self._seen: dict[str, set[bytes]] = {}
        self._else = LeastBusy()

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        chain = request.prompt[0]
        best, most = [], 0
        for one in candidates:
            seen = self._seen.setdefault(one.backend.id, set())
            match = next((end for mark, end in zip(reversed(chain.marks), reversed(chain.ends)) if mark in seen), 0)
            if match > most:
                best, most = [one], match
            elif match == most:
                best.append(one)
        chosen = self._else.choose(best if most * 2 > chain.size else candidates, request, now)
        self._seen.setdefault(chosen.backend.id, set()).update(chain.marks)
        return chosen


POLICIES: dict[str, Callable[[random.Random], Policy]] = {
    "warm": lambda dice: Warmest(),
    "least busy": lambda dice: LeastBusy(),
    "shuffle": Random,
    "session": lambda dice: Session(Random(dice)),
    "stick table": lambda dice: Session(LeastBusy()),
    "prefix": lambda dice: Prefix(),
}
ALONE = "one server"


# The run


@dataclass(frozen=True)
class Case:
    """Circumstances.

    :param shared_trunk: all developers have the same tools and instructions.
    :param spread: seconds within which they begin.
    :param midnight: when a date in all system prompts changes, in seconds.
    :param speeds: of the servers, which have them in turn; 1: usual.
    :param killed: when the first of every ten servers is killed, in seconds.
    :param restarted: when the servers begin to drain and to restart one after the other, in seconds.
    :param kept: their slots survive that.
    """

    shared_trunk: bool = True
    spread: float = 600.0
    midnight: float = math.inf
    speeds: tuple[float, ...] = (1.0,)
    killed: float = math.inf
    restarted: float = math.inf
    kept: bool = False


CASES = {
    "usual": Case(),
    "monday": Case(spread=5.0),
    "midnight": Case(midnight=1800.0),
    "unshared": Case(shared_trunk=False),
    "mixed": Case(speeds=(1.0, 0.5, 2.0)),
    "slow": Case(speeds=(0.1, *[1.0] * 9)),
    "killed": Case(killed=3000.0),
    "restarted": Case(restarted=3000.0),
    "restarted, slots kept": Case(restarted=3000.0, kept=True),
}


@dataclass
class Result:
    """What came of it: tokens, and times to the first token in seconds."""

    computed: int
    least: int
    waits: list[float]
    warm: list[float]
    by_developer: dict[int, list[float]]
    seconds: float

    @property
    def over(self) -> float:
        return self.computed / self.least

    def quantile(self, percent: int, of: str = "waits") -> float:
        found = getattr(self, of)
        return statistics.quantiles(found, n=100)[percent - 1] if len(found) > 1 else found[0]

    @property
    def fairness(self) -> float:
        """Of the means, the worst developer's over the median."""
        means = [statistics.mean(one) for one in self.by_developer.values() if one]
        return max(means) / statistics.median(means)


def run(
    starts: Sequence[Ask],
    policy: str,
    *,
    servers: int,
    slots: int = 2,
    room: int = 52000,
    seed: int = 0,
    case: Case = CASES["usual"],
) -> Result:
    """Has developers ask; returns what came of it."""
    dice = random.Random(seed)
    warm = policy == "warm"
    speeds = itertools.islice(itertools.cycle(case.speeds), servers)
    machines = [Server(f"s{number}", slots, room, warm, speed) for number, speed in enumerate(speeds)]
    by_name = {one.name: one for one in machines}
    backends = [Backend(one.name, "z", slots, frozenset({MODEL})) for one in machines]
    chosen = POLICIES[policy](dice)
    pool = Pool(backends, policy=chosen, zone="z", zone_policy="any")
    for one in machines:
        pool.report(one.name, Health.READY, 0.0)
    events: list[tuple[float, int, str, Any]] = []
    tie = itertools.count()

    def at(when: float, kind: str, what: Any) -> None:
        heapq.heappush(events, (when, next(tie), kind, what))

    for ask in starts:
        at(ask.think, "ask", ask)
    if case.killed < math.inf:
        for one in machines[::10]:
            at(case.killed, "kill", one)
    if case.restarted < math.inf:
        at(case.restarted, "drain", 0)
    answers: dict[int, int] = {}
    waits: list[float] = []
    warm_waits: list[float] = []
    by_developer: dict[int, list[float]] = {}
    least = Least()
    now = 0.0

    def settle(server: Server) -> None:
        server.start()
        server.version += 1
        due = server.next_event()
        if due is not None:
            at(max(due, now), "work", (server, server.version))

    def dispatch(job: Job) -> None:
        prompt = job.sent if warm else (job.sent, job.ask.session)
        job.lease = pool.acquire(Request(MODEL, prompt), now)
        server = by_name[job.lease.backend.id]
        finish(server)
        server.arrive(job)
        settle(server)

    def drain(number: int) -> None:
        """Gives a server's queue to the others. It restarts once it has answered the rest."""
        server = machines[number]
        finish(server)
        pool.report(server.name, Health.DRAINING, now)
        for job in server.hand_back():
            pool.release(job.lease, Outcome.ABANDONED, now)
            dispatch(job)
        leave(server)

    def leave(server: Server) -> None:
        if server.draining and not server.running:
            server.draining = False
            at(now + RESTART, "restarted", server)

    def restarted(server: Server) -> None:
        """Has a server hold what survived its restart, and the balancer know that. Then it is the next one's turn."""
        held = [one for one in server.store.slots if one is not None and case.kept]
        server.store = Store(slots, room, SIMILARITY)
        server.store.slots[: len(held)] = held
        believed = [server.held, *([chosen._of(server.name, MODEL).holdings] if isinstance(chosen, Warmest) else [])]
        for one in believed:
            one.restored([there.tokens for there in held])
        pool.report(server.name, Health.READY, now)
        if server is not machines[-1]:
            at(now, "drain", machines.index(server) + 1)

    def finish(server: Server) -> None:
        for job in server.advance(now):
            assert job.begun is not None
            said = Timings(*server.timings(job)[1:])
            if job.noted:
                server.held.answered(job.noted, said, now)
            pool.answered(job.lease, said, now)
            pool.release(job.lease, Outcome.SUCCESS, now)
            if job.ask.counts:
                wait = job.begun - job.arrived
                waits.append(wait)
                if not job.ask.first:
                    warm_waits.append(wait)
                by_developer.setdefault(job.ask.developer, []).append(wait)
            least.answered(job)
            for then in job.ask.then:
                answers[id(then)] = answers.get(id(then), 0) + 1
                if answers[id(then)] == then.waits_for:
                    at(now + then.think, "ask", then)

    while events:
        now, _tie, kind, what = heapq.heappop(events)
        if kind == "ask":
            job = Job(what, *chains(what, "tomorrow" if now > case.midnight else ""), arrived=now)
            dispatch(job)
        elif kind == "drain":
            drain(what)
        elif kind == "restarted":
            restarted(what)
        elif kind == "kill":
            finish(what)
            pool.report(what.name, Health.DOWN, now)
            for job in what.kill():
                pool.release(job.lease, Outcome.FAILURE, now)
                job.begun = None
                dispatch(job)
        else:
            server, version = what
            if version == server.version and server.alive:
                finish(server)
                settle(server)
                leave(server)
    used = sum(len(one.used) for one in machines)
    return Result(sum(one.computed for one in machines), least.total(used), waits, warm_waits, by_developer, now)


class Least:
    """The least tokens that a perfect router has computed where everything fits."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._answers: dict[bytes, int] = {}  # by the end of the prompt
        self._users: dict[bytes, set[int]] = {}
        self._tokens = self._trunk = 0

    def answered(self, job: Job) -> None:
        """Counts a prompt less the deepest match of all that was answered before, with its answer."""
        marks, ends = job.chain.marks, job.chain.ends
        number = next((number for number, mark in enumerate(marks) if mark not in self._known), len(marks))
        held = ends[number - 1] if number else 0
        if number and number < len(marks) and marks[number - 1] in self._answers:
            held = min(ends[number], held + self._answers[marks[number - 1]])
        self._tokens += max(1, job.chain.size - held)
        self._known.update(marks)
        self._answers[marks[-1]] = job.ask.answer
        for mark, end in zip(marks, ends, strict=True):
            users = self._users.setdefault(mark, set())
            users.add(job.ask.developer)
            if len(users) > 1:
                self._trunk = max(self._trunk, end)

    def total(self, slots: int) -> int:
        """Returns L1: each slot that was used but one computes the trunk once more."""
        return self._tokens + (slots - 1) * self._trunk


def result(policy: str, number: int, servers: int, room: int, case: Case, traces: Path | None, seed: int) -> Result:
    """Returns what so many developers get of a policy, or of one server.

    :param traces: condensed sessions, instead of made ones.
    """
    starts = (
        replayed(traces, seed, number) if traces else developers(seed, number, shared_trunk=case.shared_trunk, spread=case.spread)
    )
    if policy == ALONE:
        policy, servers = "least busy", 1
    return run(starts, policy, servers=servers, room=room, seed=seed, case=case)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--developers", type=int, nargs="+", default=[4, 6, 9, 12])
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--room", type=int, nargs="+", default=[104000, 52000], help="tokens of each host cache")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policies", nargs="+", choices=[*POLICIES, ALONE], default=[*POLICIES, ALONE])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["usual"])
    parser.add_argument("--traces", type=Path, help="condensed sessions, instead of made ones")
    parser.add_argument("--chart", type=Path, help="writes the table as an SVG picture, too")
    chosen = parser.parse_args()
    print("| case | developers | host cache | policy | computed / L1 | first token p50, s | p95 | p95 of later turns |", end="")
    print(" worst / median | hours |\n|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    with ProcessPoolExecutor() as pool:
        for case, room, number in itertools.product(chosen.cases, chosen.room, chosen.developers):
            for policy in chosen.policies:
                setting = policy, number, chosen.servers, room, CASES[case], chosen.traces
                found = [*pool.map(partial(result, *setting), range(chosen.seeds))]
                cell = (case, str(number), f"{room // 1000} k")
                print("|", " | ".join([*cell, policy, *_figures(found)]), "|", flush=True)
                label = f"{case}, {number} developers, {room // 1000} k: {policy}"
                rows.append(Row(label, [_over(found), _mean_quantile(found, 95)], bold=policy == "warm"))
    if chosen.chart:
        chosen.chart.write_text(bar_chart(["tokens computed / L1", "first token, p95, seconds"], rows))


def _over(found: Sequence[Result]) -> float:
    return sum(one.computed for one in found) / sum(one.least for one in found)


def _mean_quantile(found: Sequence[Result], percent: int, of: str = "waits") -> float:
    return statistics.mean(one.quantile(percent, of) for one in found)


def _figures(found: Sequence[Result]) -> list[str]:
    return [
        f"{_over(found):.2f}",
        f"{_mean_quantile(found, 50):.0f}",
        f"{_mean_quantile(found, 95):.0f}",
        f"{_mean_quantile(found, 95, 'warm'):.0f}",
        f"{statistics.mean(one.fairness for one in found):.1f}",
        f"{statistics.mean(one.seconds for one in found) / 3600:.1f}",
    ]


if __name__ == "__main__":
    main()
