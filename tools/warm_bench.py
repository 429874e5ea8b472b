# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replays generated sessions of agents on three real llama-servers, behind our balancer, LiteLLM's own proxy, or HAProxy.

The sessions are those of ``warm_sim.py`` at an eighth of their size, and so is the context. All have the same
llama-servers with the same flags, and begin with empty ones. What is computed is llama-server's own count.
"""

from __future__ import annotations

import contextlib
import heapq
import http.client
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "tests/contract"), str(PROJECT / "tools"), str(PROJECT / "roles/router/files")]

import yaml
from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config
from gateway_rig import Gateway
from rig import (
    ADA,
    BACKEND_KEY,
    LITELLM,
    ROUTER,
    Llama,
    Member,
    Service,
    Stream,
    UnixConnection,
    certificate,
    free_port,
    venv_of,
)
from router_rig import EngineOnSocket, Router
from warm_sim import Ask, Part, developers

SCALE = 0.12
SLOTS, CONTEXT, CACHE_MIB = 2, 5120, 512
THINK = 0.02  # of the seconds that people and tools take
LONGEST_THINK = 8.0
AGAIN, ATTEMPTS = 0.5, 200  # seconds until a client asks again where a server was killed, and how often it does
LOST = (AssertionError, OSError, http.client.HTTPException, ValueError)
SESSION = "X-LiteLLM-Session-Id"
# Our balancer with another choice of servers.
PREFIX = f"""
import sys
sys.path.append({str(PROJECT / "tools")!r})
from copilot_router.pool import Request
from copilot_router.warmest import Warmest
from warm_sim import Prefix

policy = Prefix()
Warmest.choose = lambda self, candidates, request, now: policy.choose(
    candidates, Request(request.model, (request.prompt, None)), now
)
"""
HAPROXY = """
global
    stats socket {folder}/stats.sock
    localpeer {name}
    tune.bufsize 524288
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout queue 1h
    option redispatch
    retries 3
    retry-on conn-failure empty-response
peers balancers
{peers}
listen balancer
    bind 127.0.0.1:{port}
    balance leastconn
    option httpchk GET /health
    default-server check inter 1s fall 2 rise 1 maxconn {slots}
{stick}
{servers}
"""
STICK = f"""
    stick-table type string len 64 size 10k expire 2h peers balancers
    stick on req.hdr({SESSION})
"""


def words(part: Part) -> str:
    """Text of about so many tokens, other for each name."""
    dice = random.Random(part.name)
    return " ".join(f"{dice.choice('abcdefgh')}{dice.randrange(10, 99)}" for _word in range(max(1, part.tokens // 3)))


@dataclass
class Fleet:
    """Three hosts, and what is before them.

    :param entrances: connect to each balancer.
    :param headers: of all requests.
    :param kill_router: ends what is before the first llama-server on its host.
    """

    engines: list[Llama]
    entrances: list[Callable[[], http.client.HTTPConnection]]
    headers: dict[str, str]
    kill_router: Callable[[], None] = lambda: None
    _gone: int = 0

    def ask(self, ask: Ask, entrance: int, body: dict[str, Any]) -> Stream:
        connection = self.entrances[entrance % len(self.entrances)]()
        whose = {"X-Copilot-User": f"developer-{ask.developer}", SESSION: f"session-{ask.session}"}
        headers = {"Content-Type": "application/json", **self.headers, **whose}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        return Stream(connection)

    def kill(self) -> None:
        """Kills the first host's programs."""
        killed = self.engines.pop(0)
        self._gone += killed.computed
        self.kill_router()
        killed.kill()

    @property
    def computed(self) -> int:
        """How many tokens of prompts were computed."""
        return self._gone + sum(engine.computed for engine in self.engines)

    def tokens(self, messages: Sequence[dict[str, str]]) -> int:
        """Returns how many tokens a prompt has."""
        prompt = self._direct("/apply-template", {"messages": messages})["prompt"]
        return len(self._direct("/tokenize", {"content": prompt, "add_special": True})["tokens"])

    def _direct(self, path: str, body: dict[str, Any]) -> Any:
        connection = self.engines[-1].connect()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return Stream(connection).rest().json


@dataclass
class Replay:
    """What came of the sessions: seconds to the first token, of first prompts of conversations and of later ones."""

    answers: dict[str, str] = field(default_factory=dict)  # by the name of the part that they are in later prompts
    answered: list[Ask] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    by_developer: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0  # requests that were asked again
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def messages(self, parts: Sequence[Part]) -> list[dict[str, str]]:
        """Returns what is sent: answers as they were given."""
        found = [{"role": "system", "content": " ".join(words(part) for part in parts[:2])}]
        for part in parts[2:]:
            role = "assistant" if "/answer" in part.name else "user"
            found.append({"role": role, "content": self.answers.get(part.name) or words(part)})
        return found

    def note(self, ask: Ask, first: float, said: str) -> None:
        """Notes an answer.

        :param first: seconds until its first token.
        """
        with self.lock:
            self.answered.append(ask)
            for then in ask.then:
                if then.parts[: len(ask.parts)] == ask.parts:
                    self.answers[then.parts[len(ask.parts)].name] = said
            if ask.counts:
                (self.cold if ask.first else self.warm).append(first)
                self.by_developer.setdefault(ask.developer, []).append(first)

    @property
    def fairness(self) -> float:
        """Of the means, the worst developer's over the median."""
        means = [statistics.mean(one) for one in self.by_developer.values()]
        return max(means) / statistics.median(means)

    def least(self, fleet: Fleet, slots: int) -> int:
        """Returns L1: each token once, and the start that most have in common once more for each slot but one."""
        known: dict[tuple[str, ...], int] = {}  # names of parts that were computed -> their tokens
        trunks: dict[tuple[str, ...], int] = {}
        tokens = 0
        for ask in self.answered:
            names = tuple(part.name for part in ask.parts)
            size = fleet.tokens(self.messages(ask.parts))
            held = max((known[names[:end]] for end in range(len(names), 0, -1) if names[:end] in known), default=0)
            trunk = names[:2] if len(names) > 2 else ()
            if not held and trunk in trunks:
                held = trunks[trunk]
            elif trunk not in trunks and trunk:
                trunks[trunk] = fleet.tokens(self.messages(ask.parts[:2]))
            tokens += max(1, size - held)
            known[names] = size
            for then in ask.then:
                if then.parts[: len(names)] == ask.parts:
                    known[(*names, then.parts[len(names)].name)] = size + max(1, ask.answer)
        return tokens + (slots - 1) * max(trunks.values())


def asked(replay: Replay, fleet: Fleet, ask: Ask, number: int) -> None:
    """Sends one request and reads its answer to the end; asks again where it is lost."""
    body = {
        "model": "tiny",
        "messages": replay.messages(ask.parts),
        "max_tokens": max(1, ask.answer),
        "stream": True,
        "ignore_eos": True,
    }
    began = time.monotonic()
    for attempt in range(ATTEMPTS):
        try:
            stream = fleet.ask(ask, number + attempt, body)
            stream.first(2)
            first = time.monotonic() - began
            events = stream.rest().events
            if events[-1] != "[DONE]":
                raise ValueError(events[-1])
        except LOST:
            with replay.lock:
                replay.lost += 1
            time.sleep(AGAIN)
            continue
        choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
        replay.note(ask, first, "".join(choice["delta"].get("content") or "" for choice in choices))
        return
    raise AssertionError(f"{ask.parts[-1].name} is lost")


def all_of(starts: Sequence[Ask]) -> set[Ask]:
    """Returns all that is asked."""
    found, left = set(), list(starts)
    while left:
        ask = left.pop()
        if ask not in found:
            found.add(ask)
            left += ask.then
    return found


def replay(fleet: Fleet, number: int, turns: int, kill: bool) -> Replay:
    """Has so many developers work until they are done.

    :param kill: the first server, when half of all is answered.
    """
    found, order, left = Replay(), itertools.count(), threading.Condition()
    starts = developers(1, number, turns=turns, scale=SCALE)
    events: list[tuple[float, int, Ask]] = []
    waiting: dict[int, int] = {}
    kill_at = len(all_of(starts)) // 2 if kill else -1
    under_way = [0]
    start = time.monotonic()

    def at(ask: Ask, after: float) -> None:
        heapq.heappush(events, (after + min(LONGEST_THINK, ask.think * THINK), next(order), ask))

    def one(ask: Ask, place: int) -> None:
        asked(found, fleet, ask, place)
        with left:
            for then in ask.then:
                waiting[id(then)] = waiting.get(id(then), 0) + 1
                if waiting[id(then)] == then.waits_for:
                    at(then, time.monotonic() - start)
            under_way[0] -= 1
            left.notify()

    for ask in starts:
        at(ask, 0.0)
    tasks: list[Future[None]] = []
    with ThreadPoolExecutor(64) as pool:
        while True:
            if len(found.answered) == kill_at:
                kill_at = -1
                fleet.kill()
            with left:
                if not events and not under_way[0]:
                    break
                wait = events[0][0] - (time.monotonic() - start) if events else 1.0
                if wait > 0:
                    left.wait(min(wait, 1.0))
                else:
                    under_way[0] += 1
                    tasks.append(pool.submit(one, heapq.heappop(events)[2], next(order)))
            for done in [task for task in tasks if task.done()]:
                tasks.remove(done)
                done.result()  # what it raised
    found.seconds = time.monotonic() - start
    return found


# What is before the servers


@dataclass
class Place:
    """Where it is started.

    :param stack: ends it.
    :param balancers: how many.
    """

    stack: contextlib.ExitStack
    root: Path
    engine: Path
    model: Path
    options: tuple[str, ...]
    balancers: int

    def folder(self, name: str) -> Path:
        work = self.root / name
        work.mkdir()
        return work

    def started(self, engine: Llama) -> Llama:
        self.stack.callback(engine.kill)
        engine.start()
        engine.wait_ready()
        return engine

    def servers(self, number: int) -> list[Llama]:
        """Llama-servers at ports."""
        size = {"slots": SLOTS, "context": CONTEXT, "locked": False, "options": self.options}
        return [self.started(Llama(self.engine, self.model, self.folder(f"server-{index}"), **size)) for index in range(number)]


def ours(site: str, place: Place) -> Fleet:
    """Our balancers, and our router before each llama-server.

    :param site: a program that changes a balancer.
    """
    engines: list[Llama] = []
    members, routers = [], []
    for name in "xyz":
        work = place.folder(name)
        size = {"slots": SLOTS, "context": CONTEXT}
        llama = EngineOnSocket(place.engine, place.model, work, options=place.options, **size)
        engines.append(place.started(llama))
        routers.append(Router(venv_of(ROUTER), llama, work, marks_key_file=str(work / "key")))
        place.stack.callback(routers[-1].stop)
        routers[-1].start()
        members.append(Member(name, 9, socket=str(routers[-1].socket), slots=SLOTS))
    (place.folder("site") / "sitecustomize.py").write_text(site)
    sockets = []
    for number in range(place.balancers):
        work = place.folder(f"balancer-{number}")
        service = Service(venv_of(LITELLM), litellm_config({"request_timeout": 3600}), work, site=place.root / "site")
        service.pool(*members)
        place.stack.callback(service.stop)
        service.start()
        service.settle(*"xyz")
        sockets.append(work / "socket")
    return Fleet(engines, [partial(UnixConnection, socket, 3600) for socket in sockets], dict(ADA), routers[0].stop)


class LiteLLM(Service):
    """LiteLLM's own proxy, with its own ways to choose servers."""

    def __init__(self, venv: Path, config: dict[str, Any], work: Path) -> None:
        super().__init__(venv, config, work)
        listens = str(self._listener.fileno())
        self._command = [str(venv / "bin/python"), "-m", "uvicorn", "litellm.proxy.proxy_server:app", "--fd", listens]
        self._environment |= {"LITELLM_MASTER_KEY": BACKEND_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log[-3000:]
        with contextlib.suppress(OSError):
            return self.request("GET", "/health/liveliness").status == http.client.OK
        return False


def litellm(settings: dict[str, Any], place: Place) -> Fleet:
    """LiteLLM's proxies.

    :param settings: of its router.
    """
    engines = place.servers(3)
    own = [{"model": "openai/tiny", "api_base": f"http://127.0.0.1:{one.port}/v1", "api_key": "none"} for one in engines]
    config = {"model_list": [{"model_name": "tiny", "litellm_params": one} for one in own], "router_settings": settings}
    sockets = []
    for number in range(place.balancers):
        work = place.folder(f"balancer-{number}")
        service = LiteLLM(venv_of(LITELLM), config, work)
        place.stack.callback(service.stop)
        service.start()
        sockets.append(work / "socket")
    key = {"Authorization": f"Bearer {BACKEND_KEY}"}
    return Fleet(engines, [partial(UnixConnection, socket, 3600) for socket in sockets], key)


def haproxy(stick: str, servers: int, place: Place) -> Fleet:
    """HAProxy, with a common queue, as llama-server gets no more requests than it has slots.

    :param stick: lines of its configuration.
    """
    engines = place.servers(servers)
    lines = [f"    server s{index} 127.0.0.1:{one.port}" for index, one in enumerate(engines)]
    ca = certificate(place.root, "ca")
    gateways = [Gateway(place.root, ca, f"balancer-{number}") for number in range(place.balancers)]
    peers = [f"    peer {one.name} 127.0.0.1:{free_port()}" for one in gateways]
    for one in gateways:
        text = HAPROXY.format(
            folder=one.folder,
            name=one.name,
            port=one.port,
            slots=SLOTS,
            stick=stick,
            peers="\n".join(peers),
            servers="\n".join(lines),
        )
        (one.folder / "haproxy.cfg").write_text(text)
        place.stack.callback(one.stop)
        one.start()
    return Fleet(engines, [partial(http.client.HTTPConnection, "127.0.0.1", one.port, timeout=3600) for one in gateways], {})


POLICIES: dict[str, Callable[[Place], Fleet]] = {
    "by warmth": partial(ours, ""),
    "LiteLLM least-busy": partial(litellm, {"routing_strategy": "least-busy"}),
    "LiteLLM simple-shuffle": partial(litellm, {"routing_strategy": "simple-shuffle"}),
    "LiteLLM session affinity": partial(litellm, {"optional_pre_call_checks": ["session_affinity"]}),
    "HAProxy leastconn": partial(haproxy, "", 3),
    "HAProxy stick table": partial(haproxy, STICK, 3),
    "prefix affinity": partial(ours, PREFIX),
    "one server": partial(haproxy, "", 1),
}
CASES = ("usual", "killed", "two balancers")


@contextlib.contextmanager
def fleet(engine: Path, model: Path, policy: str, balancers: int) -> Iterator[Fleet]:
    """Servers, and what is before them."""
    defaults = yaml.safe_load((PROJECT / "roles/llama_server/defaults/main.yml").read_text())
    similarity = str(defaults["llama_server_slot_prompt_similarity"])
    options = ("--slot-prompt-similarity", similarity, "--cache-ram", str(CACHE_MIB))
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield POLICIES[policy](Place(stack, root, engine, model, options, balancers))


def measured(engine: Path, model: Path) -> list[tuple[str, float, str]]:
    """Returns what each policy computes over L1, and how long developers wait.

    The environment chooses: BENCH_DEVELOPERS (numbers), BENCH_TURNS, BENCH_CASES and BENCH_POLICIES, which are lists with commas.
    """
    numbers = [int(number) for number in os.environ.get("BENCH_DEVELOPERS", "6").split(",")]
    turns = int(os.environ.get("BENCH_TURNS", "6"))
    cases = os.environ.get("BENCH_CASES", "usual").split(",")
    policies = os.environ.get("BENCH_POLICIES", ",".join(POLICIES)).split(",")
    rows = []
    for case, number, policy in itertools.product(cases, numbers, policies):
        if policy == "one server" and case != "usual":
            continue
        print(f"{number} developers, {case}: {policy}", file=sys.stderr, flush=True)
        with fleet(engine, model, policy, 2 if case == "two balancers" else 1) as servers:
            slots = SLOTS * len(servers.engines)
            found = replay(servers, number, turns, case == "killed")
            rows.append(_row(f"{policy}, {number} developers, {case}", found, servers.computed / found.least(servers, slots)))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _row(what: str, found: Replay, over: float) -> tuple[str, float, str]:
    figures = [
        f"{name} {_quantile(times, 50):.2f} and {_quantile(times, 95):.2f} s"
        for name, times in (("all", found.cold + found.warm), ("cold", found.cold), ("later", found.warm))
    ]
    lost = f", {found.lost} asked again" if found.lost else ""
    return what, over, f"{'; '.join(figures)}; {found.seconds:.0f} s in all; worst developer {found.fairness:.1f}{lost}"


def _quantile(found: list[float], percent: int) -> float:
    return statistics.quantiles(found, n=100)[percent - 1]
