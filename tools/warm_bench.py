# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replays generated sessions of agents through a real balancer before three real servers, with the choice by warmth and
without.

The sessions are those of ``warm_sim.py`` at a tenth of their size, and so is the context. Both sides have the same servers with
the same flags, and begin with empty ones.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "tests/contract"), str(PROJECT / "tools"), str(PROJECT / "roles/router/files")]

import yaml
from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config
from rig import ADA, LITELLM, ROUTER, Member, Service, venv_of
from router_rig import EngineOnSocket, Router
from warm_sim import Ask, Part, developers

SCALE = 0.1
SLOTS, CONTEXT, CACHE_MIB = 2, 4096, 512
THINK = 0.02  # of the seconds that people and tools take
LONGEST_THINK = 8.0
# The same balancer, but for what it is measured for.
LEAST_BUSY = """
from copilot_router.policy import LeastBusy
from copilot_router.warmest import Warmest

blind = LeastBusy()
Warmest.choose = lambda self, candidates, request, now: blind.choose(candidates, request, now)
"""


def words(part: Part) -> str:
    """Text of about so many tokens, other for each name."""
    dice = random.Random(part.name)
    return " ".join(f"{dice.choice('abcdefgh')}{dice.randrange(10, 99)}" for _word in range(max(1, part.tokens // 3)))


@dataclass
class Replay:
    """What came of the sessions."""

    computed: int = 0
    sizes: dict[tuple[str, ...], int] = field(default_factory=dict)  # parts of a prompt -> its tokens
    least: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    firsts: list[float] = field(default_factory=list)  # seconds to the first token
    later: list[float] = field(default_factory=list)  # of turns that are not the first of a conversation
    by_developer: dict[int, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def messages(self, ask: Ask) -> list[dict[str, str]]:
        """Returns what is sent: answers as they were given."""
        found = [{"role": "system", "content": " ".join(words(part) for part in ask.parts[:2])}]
        for part in ask.parts[2:]:
            role = "assistant" if "/answer" in part.name else "user"
            found.append({"role": role, "content": self.answers.get(part.name) or words(part)})
        return found

    def note(self, ask: Ask, began: float, first: float, said: str, times: dict[str, Any], trunk: int) -> None:
        """Notes an answer."""
        names = tuple(part.name for part in ask.parts)
        size = times["prompt_n"] + times["cache_n"]
        with self.lock:
            held = max((self.sizes[names[:end]] for end in range(len(names), 0, -1) if names[:end] in self.sizes), default=0)
            if not held and any(known[:2] == names[:2] for known in self.sizes):
                held = trunk
            self.least += max(1, size - held)
            self.sizes[names] = size
            for name in {then.parts[len(names)].name for then in ask.then if then.parts[: len(names)] == ask.parts}:
                self.answers[name] = said
                self.sizes[(*names, name)] = size + times["predicted_n"]
            self.computed += times["prompt_n"]
            if ask.counts:
                self.firsts.append(first - began)
                self.by_developer.setdefault(ask.developer, []).append(first - began)
                if not ask.first:
                    self.later.append(first - began)


def asked(replay: Replay, service: Service, ask: Ask, trunks: dict[str, int]) -> None:
    """Sends one request and reads its answer to the end."""
    body = {
        "model": "tiny",
        "messages": replay.messages(ask),
        "max_tokens": max(1, ask.answer),
        "stream": True,
        "ignore_eos": True,
    }
    began = time.monotonic()
    stream = service.open("POST", "/v1/chat/completions", body, {**ADA, "X-Copilot-User": f"developer-{ask.developer}"})
    stream.first(2)
    first = time.monotonic()
    events = [json.loads(event) for event in stream.rest().events[:-1]]
    said = "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    times = next(event["timings"] for event in reversed(events) if "timings" in event)
    replay.note(ask, began, first, said, times, trunks.get(ask.parts[0].name, 0))


def replay(service: Service, seed: int, number: int, turns: int, trunks: dict[str, int]) -> Replay:
    """Has so many developers work until they are done."""
    found, order, left = Replay(), itertools.count(), threading.Condition()
    events: list[tuple[float, int, Ask]] = []
    waiting: dict[int, int] = {}
    under_way = [0]
    start = time.monotonic()

    def at(ask: Ask, after: float) -> None:
        heapq.heappush(events, (after + min(LONGEST_THINK, ask.think * THINK), next(order), ask))

    def one(ask: Ask) -> None:
        asked(found, service, ask, trunks)
        with left:
            for then in ask.then:
                waiting[id(then)] = waiting.get(id(then), 0) + 1
                if waiting[id(then)] == then.waits_for:
                    at(then, time.monotonic() - start)
            under_way[0] -= 1
            left.notify()

    for ask in developers(seed, number, turns=turns, scale=SCALE, spread=60.0):
        at(ask, 0.0)
    tasks: list[Future[None]] = []
    with ThreadPoolExecutor(64) as pool:
        while True:
            with left:
                if not events and not under_way[0]:
                    break
                wait = events[0][0] - (time.monotonic() - start) if events else 1.0
                if wait > 0:
                    left.wait(min(wait, 1.0))
                    continue
                under_way[0] += 1
                tasks.append(pool.submit(one, heapq.heappop(events)[2]))
            for done in [task for task in tasks if task.done()]:
                tasks.remove(done)
                done.result()  # what it raised
    found.seconds = time.monotonic() - start
    return found


@contextlib.contextmanager
def fleet(engine: Path, model: Path, policy: str) -> Iterator[tuple[Service, dict[str, int]]]:
    """Three servers and a balancer, and how many tokens each common start has."""
    similarity = yaml.safe_load((PROJECT / "roles/llama_server/defaults/main.yml").read_text())[
        "llama_server_slot_prompt_similarity"
    ]
    options = ("--slot-prompt-similarity", str(similarity), "--cache-ram", str(CACHE_MIB))
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        members = []
        for name in "xyz":
            work = root / name
            work.mkdir()
            llama = EngineOnSocket(engine, model, work, slots=SLOTS, context=CONTEXT, options=options)
            stack.callback(llama.kill)
            llama.start()
            router = Router(venv_of(ROUTER), llama, work, marks_key_file=str(work / "key"))
            stack.callback(router.stop)
            router.start()
            members.append(Member(name, 9, socket=str(router.socket), slots=SLOTS))
        trunks = {}
        for ask in developers(0, 1, scale=SCALE):
            text = " ".join(words(part) for part in ask.parts[:2])
            trunks[ask.parts[0].name] = len(router.admin.request("POST", "/tokenize", {"content": text}).json["tokens"])
        site = root / "site"
        site.mkdir()
        if policy == "least busy":
            (site / "sitecustomize.py").write_text(LEAST_BUSY)
        work = root / "balancer"
        work.mkdir()
        service = Service(venv_of(LITELLM), litellm_config({"request_timeout": 3600}), work, site=site)
        service.pool(*members)
        stack.callback(service.stop)
        service.start()
        service.settle(*"xyz")
        yield service, trunks


def quantile(found: list[float], percent: int) -> float:
    return statistics.quantiles(found, n=100)[percent - 1]


def measured(engine: Path, model: Path, number: int, turns: int) -> list[tuple[str, float, str]]:
    """Returns what the choice by warmth is worth against the least busy server, and how far it is from the least possible."""
    results, over = {}, {}
    for policy in ("least busy", "warm"):
        print(f"{number} developers: {policy}", file=sys.stderr, flush=True)
        with fleet(engine, model, policy) as (service, trunks):
            one = results[policy] = replay(service, 1, number, turns, trunks)
            over[policy] = one.computed / (one.least + (3 * SLOTS - 1) * trunks["tools"])
    warm, other = results["warm"], results["least busy"]
    figures = {
        "first token, p50": [quantile(one.firsts, 50) for one in (warm, other)],
        "first token, p95": [quantile(one.firsts, 95) for one in (warm, other)],
        "first token of later turns, p95": [quantile(one.later, 95) for one in (warm, other)],
        "until all are done": [warm.seconds, other.seconds],
        "first token of the worst developer, mean": [
            max(map(statistics.mean, one.by_developer.values())) for one in (warm, other)
        ],
    }
    whose = f"{number} developers, by warmth against least busy"
    rows = [
        (f"tokens computed, {whose}", warm.computed / other.computed, f"{over['warm']:.2f} and {over['least busy']:.2f} x L1")
    ]
    for what, (mine, theirs) in figures.items():
        rows.append((f"{what}, {whose}", mine / theirs, f"{mine:.2f} against {theirs:.2f} s"))
    return rows
