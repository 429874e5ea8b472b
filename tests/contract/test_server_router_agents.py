# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What agents send, at the router of a server whose model has a strict chat template."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT
from rig import ROUTER, Answer, Stream, wait_for
from router_rig import Caller, EngineOnSocket, Router

sys.path[:0] = [str(ROUTER), str(CHECKOUT / "tests/unit/router")]

from agent_histories import HISTORIES, READ, assistant, body, call, result, user
from copilot_router.anthropic_form import from_chat
from copilot_router.responses_form import with_history

STRICT = "mistralai-Ministral-3-14B-Reasoning-2512"  # the nearest to that of the default model
TOLERANT = "Qwen3-Coder"
WITHOUT_TOOLS = "google-gemma-2-2b-it"
USERS = [user(), user("Please.")]
AFTER_RESULT = [user(), assistant(None, call()), result(), user("Thanks.")]


class Host:
    """An engine with a template, and its router."""

    def __init__(self, engine: Path, model: Path, venv: Path, work: Path, template: Path, **settings: Any) -> None:
        self.template = work / "template.jinja"
        shutil.copy(template, self.template)
        options = ["--jinja", "--chat-template-file", str(self.template)]
        self.llama = EngineOnSocket(engine, model, work, options=options)
        self.router = Router(venv, self.llama, work, **settings)
        self.llama.start()
        self.router.start()
        self.router.wait_state(health="ready")

    def ask(self, messages: Any, caller: Caller | None = None, **more: Any) -> Answer:
        content = {**body(messages), "max_tokens": 1, **more}
        return (caller or self.router.developer).request("POST", "/v1/chat/completions", content)

    def stop(self) -> None:
        self.router.stop()
        self.llama.kill()


@pytest.fixture(scope="module")
def make(
    engine: Path, model: Path, router_venv: Path, templates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """``make(template)`` gives a host, which is stopped in the end."""
    hosts = []

    def made(template: str, **settings: Any) -> Host:
        work = tmp_path_factory.mktemp(template[:12])
        hosts.append(Host(engine, model, router_venv, work, templates / f"{template}.jinja", **settings))
        return hosts[-1]

    yield made
    for host in hosts:
        host.stop()


@pytest.fixture(scope="module")
def strict(make: Any) -> Host:
    return make(STRICT)  # type: ignore[no-any-return]


# Histories


def test_every_history_is_answered_and_it_is_told_what_was_done(strict: Host) -> None:
    told = {}
    for name, messages in HISTORIES.items():
        answer = strict.ask(messages)
        assert answer.status == 200, (name, answer.text)
        told[name] = answer.headers.get("x-copilot-history")
        if told[name] is None:
            assert strict.ask(messages, strict.llama.direct).status == 200, "what is taken as it is stays as it is"
    assert told["question"] is told["tool-loop"] is None
    assert (told["users-in-a-row"], told["user-after-result"]) == ("merged-users", "answered-result")
    assert sum(done is not None for done in told.values()) >= 19, told


def test_so_are_those_in_anthropic_s_form(strict: Host) -> None:
    told = {}
    for name, messages in HISTORIES.items():
        with suppress(ValueError, TypeError, KeyError, AttributeError):  # such as half a call, which has no place there
            system, found = from_chat(messages)
            asked = {"messages": found, "max_tokens": 1, **({"system": system} if system else {})}
            answer = strict.router.developer.request("POST", "/v1/messages", asked)
            assert answer.status == 200, (name, answer.text)
            told[name] = answer.headers.get("x-copilot-history")
    assert (told["user-after-result"], told["question"], len(told) > 25) == ("answered-result", None, True)


def test_so_are_those_in_the_form_of_openai_s_responses(strict: Host) -> None:
    """The model sees as many tokens of one as in the form of a chat, but where calls in a row are one message."""
    told = {}
    for name, messages in HISTORIES.items():
        with suppress(ValueError, TypeError, KeyError, AttributeError):  # such as a call without arguments
            asked = {**with_history({}, messages), "max_output_tokens": 1}
            answer = strict.router.developer.request("POST", "/v1/responses", asked)
            assert answer.status == 200, (name, answer.text)
            told[name] = answer.headers.get("x-copilot-history")
            chat = strict.router.developer.request("POST", "/v1/chat/completions", {"messages": messages, "max_tokens": 1})
            counted = [one.json["usage"][key] for one, key in ((answer, "input_tokens"), (chat, "prompt_tokens"))]
            assert counted[0] == counted[1] or name == "two-aborted-calls", name
    assert (told["user-after-result"], told["question"], len(told) > 30) == ("answered-result", None, True), told


def test_a_stream_is_told_so_too_and_says_what_it_always_says(strict: Host) -> None:
    rewritten, plain = (strict.ask(one, stream=True) for one in (AFTER_RESULT, [user()]))
    assert (rewritten.headers["x-copilot-history"], rewritten.events[-1]) == ("answered-result", "[DONE]")
    direct = strict.ask([user()], strict.llama.direct, stream=True)
    assert "x-copilot-history" not in plain.headers
    assert [sorted(json.loads(event)) for event in plain.events[:-1]] == [sorted(json.loads(one)) for one in direct.events[:-1]]


def test_the_prompt_cache_stays_warm(strict: Host) -> None:
    history = [*AFTER_RESULT, assistant(None, call("call_2")), user("Stop that.")]
    longer = [*history, user("Start again."), assistant(None, call("call_3")), result("call_3")]
    used = [strict.ask(asked, strict.router.admin, id_slot=0).json["timings"] for asked in (history, history, longer)]
    for before, after in pairwise(used):
        assert after["cache_n"] >= before["cache_n"] + before["prompt_n"] - 8, used


def test_what_cannot_be_made_right_is_told_before_it_waits(strict: Host) -> None:
    holders = [strict.router.developer.begin(2000, stream=True) for _slot in range(2)]
    for stream in holders:
        stream.first()
    answer = strict.ask([user(3)], stream=True)
    for stream in holders:
        stream.leave()
    strict.router.wait_state(busy={"tiny": 0})
    assert (answer.status, answer.error["code"]) == (400, "invalid_history")
    assert "messages[0]" in answer.error["message"]


def test_an_engine_that_comes_back_with_another_template_is_asked_again(make: Any, templates: Path) -> None:
    host = make(STRICT)
    assert "x-copilot-history" in host.ask(USERS).headers
    host.llama.kill()
    host.router.wait_state(health="down")
    shutil.copy(templates / f"{TOLERANT}.jinja", host.template)
    host.llama.start(wait=False)
    asked = host.ask(USERS)
    assert (asked.status, "x-copilot-history" in asked.headers) == (200, False), asked.headers


def test_it_can_be_off(make: Any) -> None:
    host = make(STRICT, histories=False)
    answer = host.ask(USERS)
    assert (answer.status, answer.error["code"]) == (400, "template_refused")
    assert "alternate" in answer.error["message"], "the template's own words"
    assert "x-copilot-history" not in answer.headers
    assert host.ask([user()]).status == 200


def test_a_model_is_not_loaded_to_learn_of_its_template(
    engine: Path, model: Path, router_venv: Path, templates: Path, tmp_path: Path
) -> None:
    strict = f"model = {model}\nctx-size = 4096\nparallel = 2\njinja = true\nchat-template-file = {templates / STRICT}.jinja\n"
    llama = EngineOnSocket(engine, model, tmp_path, presets=f"[one]\n{strict}\n[two]\n{strict}")
    router = Router(router_venv, llama, tmp_path, models={"one": 0, "two": 0})
    llama.start()
    router.start()
    try:
        router.wait_state(health="ready", models={"one": "unloaded", "two": "unloaded"})
        asked = router.developer.request("POST", "/v1/chat/completions", {**body(USERS), "model": "one", "max_tokens": 1})
        assert (asked.status, asked.headers["x-copilot-history"]) == (200, "merged-users"), asked.text
        router.wait_state(models={"one": "loaded", "two": "unloaded"})
    finally:
        router.stop()
        llama.kill()


# Tools


FILE = {"type": "object", "properties": {"path": {"enum": ["a.py"]}}, "required": ["path"]}
NAMES = ("read", "write", "list")
NAME = re.compile(rf'"name": ?"({"|".join(NAMES)})"')
TOOLS = [{"type": "function", "function": {"name": name, "description": "Of files.", "parameters": FILE}} for name in NAMES]
# Of each interface: the path, its tools, how one is named, and the word by which a call is known.
CALLING: dict[str, tuple[str, Any, Any, str]] = {
    "chat": ("/v1/chat/completions", TOOLS, {"type": "function", "function": {}}, "function"),
    "responses": (
        "/v1/responses",
        [{"type": "function", **tool["function"]} for tool in TOOLS],
        {"type": "function"},
        "function_call",
    ),
    "messages": (
        "/v1/messages",
        [{"name": name, "description": "Of files.", "input_schema": FILE} for name in NAMES],
        {"type": "tool"},
        "tool_use",
    ),
}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.fixture(scope="module")
def calls_at_once(make: Any) -> Host:
    """By this template a call that is demanded is the first that may be said, so that also random weights make one."""
    return make("CohereForAI-c4ai-command-r-plus-tool_use")  # type: ignore[no-any-return]


@pytest.mark.parametrize("interface", CALLING)
def test_a_tool_that_is_named_is_called(calls_at_once: Host, interface: str) -> None:
    path, tools, one, kind = CALLING[interface]

    def called(choice: Any, stream: bool) -> set[str]:
        """Returns what is called. White space may take all tokens of an answer: then it is asked again."""
        asked = {"input" if interface == "responses" else "messages": [user()], "tools": tools, "tool_choice": choice}
        limit = {"max_output_tokens" if interface == "responses" else "max_tokens": 90}
        for _attempt in range(10):
            answer = calls_at_once.router.developer.request("POST", path, {**asked, **limit, "stream": stream})
            assert answer.status == 200, answer.text
            if kind in answer.text and (names := set(NAME.findall(answer.text))):
                return names
        raise AssertionError(f"it calls nothing: {answer.text}")

    def of(name: str) -> Any:
        return {**one, "function": {"name": name}} if interface == "chat" else {**one, "name": name}

    assert [called(of("write"), False), called(of("list"), True)] == [{"write"}, {"list"}]
    if interface == "chat":
        assert len(set.union(*(called("required", True) for _answer in range(4)))) > 1, "else it proves nothing"


def test_what_cannot_be_promised_is_refused(make: Any, strict: Host) -> None:
    unknown = strict.ask([user()], tools=TOOLS, tool_choice=named("fly"))
    assert (unknown.status, unknown.error["code"]) == (400, "invalid_tool_choice")
    blind = make(WITHOUT_TOOLS)
    for choice in ("required", named("read")):
        answer = blind.ask([user()], tools=TOOLS, tool_choice=choice)
        assert (answer.status, answer.error["code"]) == (400, "tools_not_supported")
    answer = blind.ask([user()], tools=TOOLS)
    assert (answer.status, answer.headers["x-copilot-tools"]) == (200, "not-shown")
    assert "x-copilot-tools" not in strict.ask([user()], tools=[READ]).headers


# How far the prompt is


ENDS = {"/v1/chat/completions": "[DONE]", "/v1/responses": "response.completed", "/v1/messages": "message_stop"}


def begin(host: Host, path: str, first: str, words: int) -> Stream:
    """Begins a stream with a long prompt, of which nothing is known if it begins with another word than those before."""
    asked = [user(first + " word" * words)]
    body = {"input" if path == "/v1/responses" else "messages": asked, "max_tokens": 2, "max_output_tokens": 2, "stream": True}
    return host.router.developer.open("POST", path, body)


@pytest.fixture(scope="module")
def talkative(make: Any) -> Host:
    return make(TOLERANT, first_sign=0, signs=0.02)  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", ENDS)
def test_a_long_prompt_tells_how_far_it_is(talkative: Host, path: str) -> None:
    text = begin(talkative, path, path, 7000).rest().text
    comments = {line for line in text.splitlines() if line.startswith(": prompt ")}
    told = sorted(tuple(map(int, line.split()[2].split("/"))) for line in comments)
    assert len(told) >= 3, comments
    assert (told[-1][0] > 4000, len({total for _done, total in told})) == (True, 1), told
    assert "prompt_progress" not in text
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    first = {"/v1/responses": ["response.created", "response.in_progress"], "/v1/messages": ["message_start"]}.get(path, [])
    assert names[: len(first)] == first
    assert [names.count(name) for name in first] == [1] * len(first)
    assert ENDS[path] in text[-2000:]


@pytest.mark.parametrize("path", ENDS)
def test_a_prompt_that_the_engine_dies_over_is_begun_again(talkative: Host, path: str) -> None:
    stream = begin(talkative, path, f"once more {path}", 4000)
    wait_for("it is under way", lambda: stream.response.readline().startswith(b": prompt "))
    talkative.llama.kill()
    talkative.llama.start(wait=False)
    text = stream.rest().text
    assert "error" not in text
    assert ENDS[path] in text[-2000:]
