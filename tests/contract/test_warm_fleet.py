# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Conversations of several developers before real servers, each with its router, and real balancers: what is computed again?"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import litellm_config
from rig import ADA, ROUTER, FaultProxy, Member, Service, wait_for
from router_rig import EngineOnSocket, Router
from test_warm import DEFAULT, words

sys.path[:0] = [str(ROUTER)]

from copilot_router.conversations import chain_of

TURNS = 4
TRUNK = {"role": "system", "content": words(600, "trunk")}


@dataclass
class Server:
    """A host."""

    engine: EngineOnSocket
    router: Router

    @property
    def held(self) -> list[list[Any]]:
        """What it tells balancers to hold."""
        return list(self.router.state["held"]["tiny"]["held"])


@pytest.fixture(scope="module")
def servers(
    engine: Path, model: Path, router_venv: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """Three hosts with two slots and a host cache each, started as ours are."""
    made: dict[str, Server] = {}
    try:
        for name in "xyz":
            work = tmp_path_factory.mktemp(name)
            options = ("--slot-prompt-similarity", str(DEFAULT), "--cache-ram", "256")
            llama = EngineOnSocket(engine, model, work, slots=2, context=8192, options=options)
            made[name] = Server(llama, Router(router_venv, llama, work, marks_key_file=str(work / "key")))
            llama.start(wait=False)
        for server in made.values():
            server.engine.wait_ready()
            server.router.start()
        yield made
    finally:
        for server in made.values():
            server.router.stop()
            server.engine.kill()


def members(servers: dict[str, Server]) -> list[Member]:
    return [Member(name, 9, socket=str(server.router.socket), slots=2) for name, server in servers.items()]


@pytest.fixture(scope="module")
def balancer(running: Service, servers: dict[str, Server]) -> Service:
    running.wait_pool(*members(servers))
    return running


@pytest.fixture(scope="module")
def another(litellm_venv: Path, servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A balancer that has seen no request yet."""
    service = Service(litellm_venv, litellm_config({"request_timeout": 3600}), tmp_path_factory.mktemp("another"))
    service.pool(*members(servers))
    service.start()
    service.settle(*servers)
    yield service
    service.stop()


@dataclass
class Conversation:
    """What a developer and his agent said, and what that cost."""

    name: str
    messages: list[dict[str, Any]] = field(default_factory=lambda: [TRUNK])
    computed: int = 0
    size: int = 0  # tokens of the last prompt
    grown: int = 0  # by how many it is longer than the one before
    server: str = ""  # which answered last

    def turn(self, balancer: Service) -> dict[str, Any]:
        """Says something more. Returns llama-server's times."""
        self.messages.append({"role": "user", "content": words(30 if self.size else 200, f"{self.name} {len(self.messages)}")})
        body = {"model": "tiny", "messages": self.messages, "max_tokens": 8, "ignore_eos": True}
        response = balancer.request("POST", "/v1/chat/completions", body, {**ADA, "X-Copilot-User": self.name})
        self.server, answer = response.headers["x-copilot-route"].split(";")[0], response.json
        self.messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        times: dict[str, Any] = answer["timings"]
        self.computed += times["prompt_n"]
        size = times["prompt_n"] + times["cache_n"]
        self.size, self.grown = size, size - self.size
        return times

    def goes_on(self, balancer: Service) -> bool:
        """Says something more; returns whether hardly more than that was computed, as all else was held."""
        return bool(self.turn(balancer)["prompt_n"] <= self.grown + 8)


@pytest.fixture(scope="module")
def held(balancer: Service) -> list[Conversation]:
    """Six conversations, as many as there are slots, in shuffled order and two at a time, without any header of a session."""
    conversations = [Conversation(f"developer-{number}") for number in range(6)]
    order = [one for one in conversations for _turn in range(TURNS)]
    random.Random(7).shuffle(order)
    waiting = list(order)
    with ThreadPoolExecutor(2) as developers:
        while waiting:
            first = waiting.pop(0)
            second = next((one for one in waiting if one is not first), None)
            if second is not None:
                waiting.remove(second)
            list(developers.map(lambda one: one.turn(balancer), [one for one in (first, second) if one is not None]))
    return conversations


def test_no_token_of_conversations_that_fit_is_computed_twice(held: list[Conversation]) -> None:
    """The least is each token once, the trunk once for each slot, as slots share nothing; here each has one conversation."""
    computed, least = sum(one.computed for one in held), sum(one.size for one in held)
    assert computed <= 1.05 * least, (computed, least, [(one.name, one.computed, one.size) for one in held])


def test_servers_say_what_they_hold_and_no_balancer_needs_to_remember(
    held: list[Conversation], servers: dict[str, Server], another: Service
) -> None:
    assert sum(len(server.held) for server in servers.values()) == len(held)
    for conversation in held:
        assert conversation.goes_on(another), conversation


def test_a_balancer_takes_up_what_another_went_on_with(held: list[Conversation], balancer: Service) -> None:
    for conversation in held:
        assert conversation.goes_on(balancer), conversation


def test_a_balancer_that_is_killed_leaves_nothing_behind_and_no_warmth_is_lost(
    held: list[Conversation], servers: dict[str, Server], balancer: Service, another: Service
) -> None:
    def load(what: str) -> int:
        return sum(int(server.router.state[what]["tiny"]) for server in servers.values())

    asked = {"model": "tiny", "max_tokens": 7000, "ignore_eos": True, "stream": True}
    streams = []
    for number in range(7):  # one more than there are slots
        messages = [{"role": "user", "content": words(10, f"killed {number}")}]
        streams.append(another.open("POST", "/v1/chat/completions", {**asked, "messages": messages}))
    wait_for("all are at a server", lambda: load("busy") + load("queued") == len(streams))
    another.stop(signal.SIGKILL)
    wait_for("servers see that nobody is there", lambda: load("busy") + load("queued") == 0)
    assert not [stream for stream in streams if "[DONE]" in stream.text_until_it_breaks()]
    for conversation in held:
        conversation.turn(balancer)  # what is held may have made room for the long answers
        assert conversation.goes_on(balancer), conversation
    another.start()
    another.settle(*servers)
    for conversation in held:
        assert conversation.goes_on(another), conversation


def test_a_balancer_that_is_cut_off_from_a_server_goes_on_without_it_and_comes_back(
    held: list[Conversation], servers: dict[str, Server], balancer: Service, another: Service, tmp_path: Path
) -> None:
    """The other balancer sees all, and goes on there."""
    way = FaultProxy(servers["y"].router.socket, path=tmp_path / "y")
    try:
        another.pool(*(replace(one, socket=str(tmp_path / "y")) if one.id == "y" else one for one in members(servers)))
        another.settle(*servers)
        assert all(one.goes_on(another) for one in held), held
        away = [one for one in held if one.server == "y"]
        assert len(away) >= 2
        way.frozen.set()
        late = away.pop()
        late.turn(another)  # who does not know it yet
        assert another.state["y"]["health"] == "down"
        assert late.goes_on(another) and late.goes_on(balancer) and late.server != "y"
        undisturbed = [one for one in held if one.server not in ("y", late.server)]
        assert undisturbed and all(one.goes_on(another) for one in undisturbed), undisturbed
        assert all(one.goes_on(balancer) and one.server == "y" for one in away), away
        for one in held:
            if one.server == late.server:
                one.turn(another)  # what was held may have made room for the one that came
                assert one.goes_on(another), one
        way.frozen.clear()
        another.settle(*servers)
        assert all(one.goes_on(another) for one in (*undisturbed, *away)), held
        assert {one.server for one in away} == {"y"}
    finally:
        way.frozen.clear()
        another.pool(*members(servers))
        another.settle(*servers)
        way.close()


def test_an_administrator_sees_why(held: list[Conversation], balancer: Service) -> None:
    body = {"model": "tiny", "messages": [*held[0].messages, {"role": "user", "content": "Why?"}], "max_tokens": 1}
    for stream in (True, False):
        route = balancer.request("POST", "/v1/chat/completions", {**body, "stream": stream}, ADA).headers["x-copilot-route"]
        server, reason, *numbers = route.split("; ")
        figures = {name: int(value) for name, _is, value in (one.partition("=") for one in numbers)}
        assert (server in "xyz", reason, figures.keys()) == (True, "warm", {"expected"} if stream else {*ROUTE})
        assert figures["expected"] == pytest.approx(held[0].size, rel=0.1)
    assert "x-copilot-route" not in balancer.request("POST", "/v1/chat/completions", body).headers


ROUTE = ("expected", "cached", "computed")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", {"max_tokens": 40}),
        ("/v1/messages", {"max_tokens": 40}),
        ("/v1/responses", {"max_output_tokens": 40}),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_held_is_as_many_tokens_as_llama_server_counted(
    servers: dict[str, Server], path: str, asked: dict[str, Any], stream: bool
) -> None:
    """Whatever the interface, and by whichever way it came."""
    said = [{"role": "user", "content": words(30, path)}]
    server = servers["x"]
    content = {"model": "tiny", ("input" if "responses" in path else "messages"): said, "stream": stream, **asked}
    assert server.router.developer.request("POST", path, content).status == 200
    number = server.router.developer.request("POST", "/apply-template", {"messages": said}).json["prompt"]
    tokens = len(server.router.developer.request("POST", "/tokenize", {"content": number, "add_special": True}).json["tokens"])
    _used, whole, (_mark, prompt) = server.held[-1][:3]
    assert prompt == pytest.approx(tokens, abs=2)
    assert whole >= prompt


def test_what_a_server_says_to_hold_is_no_hash_that_anybody_could_try(
    servers: dict[str, Server], held: list[Conversation]
) -> None:
    known = {mark.hex() for one in held for mark in chain_of({"messages": one.messages}, "tiny").marks}
    said = {mark for server in servers.values() for one in server.held for mark, _tokens in one[2:]}
    assert said and not said & known


def test_an_engine_that_started_again_holds_nothing(
    held: list[Conversation], servers: dict[str, Server], balancer: Service
) -> None:
    server = servers["y"]
    server.engine.kill()
    server.router.wait_state(health="down")
    assert server.held == []
    server.engine.start()
    server.router.wait_state(health="ready")
    wait_for("the balancer sees it", lambda: balancer.state["y"]["health"] == "ready")
    for conversation in held:
        conversation.turn(balancer)
        assert conversation.goes_on(balancer), conversation
