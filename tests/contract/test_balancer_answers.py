# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A balancer answers as a server does: the same is asked at a server's router and through a balancer before it, and compared.

What may differ is listed here, and nothing else may.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from rig import ALICE, Answer, Member, Service, Stream
from router_rig import EngineOnSocket, Router

# Of every answer: what is another each time.
VOLATILE = {"id", "created", "created_at", "completed_at", "timings", "item_id", "call_id", "response_id", "cached_tokens"}
# Headers that mean something to a client. The length is that of the times and names above.
HEADERS = ("content-type", "retry-after", "allow", "x-copilot-history", "x-copilot-tools")
# llama-server lists models for clients of Ollama, too.
ONLY_ON_SERVERS = {"models"}

SIGNS = {"first_sign": 3, "signs": 1}  # late enough for an error to come before it, on a machine that is busy
STRICT = "mistralai-Ministral-3-14B-Reasoning-2512"  # the nearest to that of the default model
HELLO: Any = [{"role": "user", "content": "hello"}]
LONG: Any = [{"role": "user", "content": "word " * 60000}]
# The same answer each time, whatever was asked before.
SAME = {"temperature": 0, "seed": 1, "cache_prompt": False, "ignore_eos": True}
CALLING = {"max_tokens": 200, "ignore_eos": False}
TOOL = {
    "type": "function",
    "function": {
        "name": "read",
        "description": "Reads a file.",
        "parameters": {"type": "object", "properties": {"path": {"enum": ["a.py"]}}, "required": ["path"]},
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PAGE = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}


@dataclass(frozen=True)
class Case:
    """A question. A body that is no bytes is sent as JSON."""

    name: str
    path: str
    body: Any = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


def chat(name: str, **more: Any) -> Case:
    return Case(name, "/v1/chat/completions", {"model": "tiny", "messages": HELLO, "max_tokens": 8, **SAME, **more})


def posted(name: str, path: str, **more: Any) -> Case:
    return Case(name, path, {"model": "tiny", **SAME, **more})


CASES = [
    chat("an answer at once"),
    chat("a stream", stream=True),
    chat("a stream with its tokens", stream=True, stream_options={"include_usage": True}),
    chat("several answers", n=1, logprobs=True, top_logprobs=2),
    chat("parameters of others", verbosity="low", thinking={"type": "enabled"}, reasoning_effort="low", store=True, user="x"),
    chat("routing of LiteLLM", api_base="http://127.0.0.1:1/", model_list=[], fallbacks=["x"], user_config={}),
    chat(
        "JSON of a schema",
        response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        max_tokens=60,
        ignore_eos=False,
    ),
    chat("tools", tools=[TOOL]),
    chat("a tool that must be called", tools=[TOOL], tool_choice="required", **CALLING),
    chat("a tool that must be called, as a stream", tools=[TOOL], tool_choice="required", **CALLING, stream=True),
    chat("content in parts", messages=[{"role": "user", "content": [{"type": "text", "text": "a"}]}]),
    chat("no messages", messages=[]),
    chat("messages that are none", messages="x"),
    chat("a message without a role", messages=[{"content": "x"}]),
    chat("a role that there is not", messages=[{"role": "wizard", "content": "x"}]),
    chat("an unfinished call", messages=[*HELLO, {"role": "assistant", "content": None, "tool_calls": []}, *HELLO]),
    chat("two users in a row", messages=[*HELLO, *HELLO]),
    chat("two users in a row, as a stream", messages=[*HELLO, *HELLO], stream=True),
    chat("a named tool", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "read"}}, **CALLING),
    chat("a named tool that there is not", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "write"}}),
    chat(
        "a tool whose schema is none", tools=[{"type": "function", "function": {"name": "x", "parameters": {"type": "wizard"}}}]
    ),
    chat("a broken grammar", grammar="root ::= ("),
    chat("a broken grammar, as a stream", grammar="root ::= (", stream=True),
    chat("a number that is none", temperature="warm"),
    chat("what does not fit", messages=LONG),
    chat("what does not fit, as a stream", messages=LONG, stream=True),
    chat("a picture", messages=[{"role": "user", "content": [PICTURE]}]),
    chat("a picture, as a stream", messages=[{"role": "user", "content": [PICTURE]}], stream=True),
    chat("a call that is demanded, without tools", tool_choice="required"),
    chat("a choice that is none", tools=[TOOL], tool_choice=7),
    posted("a completion", "/v1/completions", prompt="def f", max_tokens=8),
    posted("a completion as a stream", "/v1/completions", prompt="def f", max_tokens=8, stream=True),
    posted("embeddings", "/v1/embeddings", input="x"),
    posted("a suffix, which the engine ignores", "/v1/completions", prompt="def f", suffix="return", max_tokens=8),
    posted("no suffix", "/v1/completions", prompt="def f", suffix="", max_tokens=8),
    posted("infill", "/infill", input_prefix="a", input_suffix="b", n_predict=4),
    posted("ranking", "/v1/rerank", query="x", documents=["y"]),
    posted("a response", "/v1/responses", input="hello", max_output_tokens=8),
    posted("a response as a stream", "/v1/responses", input="hello", max_output_tokens=8, stream=True),
    posted("a response to two users in a row", "/v1/responses", input=[*HELLO, *HELLO], max_output_tokens=8),
    posted("the same as a stream", "/v1/responses", input=[*HELLO, *HELLO], max_output_tokens=8, stream=True),
    posted(
        "a response with tools that are no functions",
        "/v1/responses",
        input="hello",
        tools=[{"type": "namespace", "name": "agents", "tools": []}, {"type": "custom", "name": "patch"}],
        max_output_tokens=8,
    ),
    posted("a response to what does not fit", "/v1/responses", input=LONG),
    posted("a message of two users in a row", "/v1/messages", messages=[*HELLO, *HELLO], max_tokens=8),
    posted("a message that does not fit, as a stream", "/v1/messages", messages=LONG, max_tokens=8, stream=True),
    posted("a message", "/v1/messages", messages=HELLO, max_tokens=8),
    posted("a message as a stream", "/v1/messages?beta=true", messages=HELLO, max_tokens=8, stream=True),
    posted("a message that is none", "/v1/messages", max_tokens=8),
    posted("counting tokens", "/v1/messages/count_tokens", messages=HELLO),
    posted("counting the tokens of nothing", "/v1/messages/count_tokens"),
    posted("no input", "/v1/responses"),
    Case("no model", "/v1/chat/completions", {"messages": HELLO, "max_tokens": 8, **SAME}),
    Case("a list", "/v1/chat/completions", b"[]"),
    Case("null", "/v1/chat/completions", b"null"),
    Case("a number", "/v1/chat/completions", b"7"),
    Case("half a body", "/v1/chat/completions", b'{"model": "tiny", '),
    Case("no text", "/v1/chat/completions", b'{"model": "\xff"}'),
    Case("nothing", "/v1/chat/completions", b""),
    *(
        Case(f"a list at {path}", path, b"[]")
        for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/infill")
    ),
    Case("half a message", "/v1/messages", b"{"),
    Case("a compressed body", "/v1/chat/completions", gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
    Case("models", "/v1/models", method="GET"),
    Case("models by HEAD", "/v1/models", method="HEAD"),
    Case("a model", "/v1/models/tiny", method="GET"),
    Case("a model that there is not", "/v1/models/gpt-9", method="GET"),
    Case("health", "/health", method="GET"),
    Case("health by HEAD", "/health", method="HEAD"),
    Case("a model by HEAD", "/v1/models/tiny", method="HEAD"),
    Case("a model that there is not, by HEAD", "/v1/models/gpt-9", method="HEAD"),
    Case("a page asks whether it may use the newer interface", "/v1/responses", method="OPTIONS", headers=PAGE),
    Case("a page asks whether it may", "/v1/chat/completions", method="OPTIONS", headers=PAGE),
    Case("a page asks", "/v1/models", method="GET", headers=PAGE),
    Case("another page asks", "/v1/models", method="GET", headers={"Origin": "https://evil.example"}),
    Case("an unknown path", "/v1/nonsense", {}),
    *(
        Case(f"{path} by {method}", path, method=method)
        for method, path in (
            ("GET", "/v1/chat/completions"),
            ("GET", "/v1/messages"),
            ("PUT", "/infill"),
            ("HEAD", "/v1/responses"),
        )
    ),
    *(
        Case(f"{path} by {method}", path, {}, method=method)
        for method, path in (("POST", "/v1/models"), ("DELETE", "/v1/models/tiny"), ("POST", "/health"), ("POST", "/running"))
    ),
    Case("models to unload, by GET", "/api/models/unload/tiny", method="GET"),
    Case("an administrator's request", "/running", method="GET"),
    Case("a model to load", "/upstream/tiny/health", method="GET"),
    Case("a model to unload", "/api/models/unload/tiny"),
    *(Case(path, path, method="GET") for path in ("/readyz", "/health/liveliness", "/health/liveness", "/health/readiness")),
]


@pytest.fixture(scope="module")
def llama(engine: Path, model: Path, templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineOnSocket]:
    """One with a strict template, and who may ask from a browser as the role has it."""
    options = ["--jinja", "--chat-template-file", str(templates / f"{STRICT}.jinja"), "--cors-origins", "localhost"]
    server = EngineOnSocket(engine, model, tmp_path_factory.mktemp("engine"), options=options)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def server(router_venv: Path, llama: EngineOnSocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    router = Router(router_venv, llama, tmp_path_factory.mktemp("router"), **SIGNS)
    router.start()
    router.wait_state(health="ready")
    yield router
    router.stop()


@pytest.fixture(scope="module")
def balancer(running: Service, server: Router) -> Service:
    """The service with this one server."""
    running.wait_pool(Member("server", 9, socket=str(server.socket)), **SIGNS)
    return running


def steady(found: Any) -> Any:
    """Returns an answer without what is another each time. Tokens of a prompt count as one, cached ones included."""
    if isinstance(found, dict):
        if "cache_read_input_tokens" in found:
            found = {
                **found,
                "input_tokens": found["input_tokens"] + found["cache_read_input_tokens"],
                "cache_read_input_tokens": 0,
            }
        return {name: steady(value) for name, value in found.items() if name not in VOLATILE}
    return [steady(one) for one in found] if isinstance(found, list) else found


def seen(answer: Answer) -> dict[str, Any]:
    """Returns what a client sees of an answer."""
    cors = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    kind = answer.headers.get("content-type", "").partition(";")[0]
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers} | cors
    headers["content-type"] = kind if answer.text else ""
    if kind == "text/event-stream":
        lines = [line for line in answer.text.split("\n") if line and not line.startswith(":")]
        return {"status": answer.status, "headers": headers, "events": [_line(line) for line in lines]}
    content = json.loads(answer.text) if answer.text else None
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name not in ONLY_ON_SERVERS}
    return {"status": answer.status, "headers": headers, "content": steady(content)}


def _line(line: str) -> Any:
    name, _colon, value = line.partition(": ")
    return (name, steady(json.loads(value))) if value.startswith("{") else line


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_balancer_answers_as_a_server_does(server: Router, balancer: Service, case: Case) -> None:
    headers = {**ALICE, **case.headers}
    body = case.body if case.body is None or isinstance(case.body, bytes) else json.dumps(case.body).encode()
    direct = server.developer.request(case.method, case.path, body, **case.headers)
    through = balancer.request(case.method, case.path, body, headers)
    assert seen(through) == seen(direct)
    if through.status >= 400 and case.method != "HEAD":
        assert set(through.error) >= {"message", "type", "param", "code"}


DIFFERENT = [
    (chat("a name that nobody has", model="gpt-9"), 200, 404),  # one server with one model answers to every name
    (replace(chat("no kind of content"), headers={"Content-Type": "text/plain"}), 200, 400),
]


@pytest.mark.parametrize(("case", "direct", "through"), DIFFERENT, ids=lambda found: getattr(found, "name", ""))
def test_what_may_differ_does(server: Router, balancer: Service, case: Case, direct: int, through: int) -> None:
    body = case.body if case.body is None or isinstance(case.body, bytes) else json.dumps(case.body).encode()
    assert server.developer.request(case.method, case.path, body, **case.headers).status == direct
    assert balancer.request(case.method, case.path, body, {**ALICE, **case.headers}).status == through


def test_a_stream_that_waits_says_for_what_and_what_was_done_to_it(server: Router, balancer: Service, busy: list[Stream]) -> None:
    asked = {"model": "tiny", "messages": [*HELLO, *HELLO], "max_tokens": 4, "stream": True}
    streams = [one.open("POST", "/v1/chat/completions", asked) for one in (server.developer, balancer)]
    told = [(stream.response.status, stream.response.headers["x-copilot-history"]) for stream in streams]
    assert told[0] == told[1] and all(told[0])
    said = [{stream.response.readline() for _line in range(8)} - {b"\n", b": waiting\n"} for stream in streams]
    assert all(said), "it says for what it waits"
    for stream in busy:
        stream.leave()
    assert [stream.rest().events[-1] for stream in streams] == ["[DONE]"] * 2


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_how_far_a_prompt_is_reaches_the_clients_of_a_balancer(balancer: Service, path: str) -> None:
    words = [{"role": "user", "content": f"{path} {'word ' * 10000}"}]
    body = {"model": "tiny", "input" if path == "/v1/responses" else "messages": words, "max_tokens": 2, "stream": True}
    text = balancer.open("POST", path, body).rest().text
    assert re.search(r"(?m)^: prompt [0-9]{4,}/10[0-9]{3} tokens$", text), text[:500]
    assert "prompt_progress" not in text


LATE = {
    "/v1/chat/completions": {"messages": LONG},
    "/v1/completions": {"prompt": LONG[0]["content"]},
    "/v1/messages": {"messages": LONG, "max_tokens": 8},
    "/v1/responses": {"input": LONG[0]["content"]},
}


def test_an_error_that_comes_late_is_the_last_that_is_said(server: Router, balancer: Service, busy: list[Stream]) -> None:
    """Nothing follows it, not even [DONE]."""
    asked = {
        (way, path): who.open("POST", path, {"model": "tiny", "stream": True, **body})
        for way, who in (("direct", server.developer), ("through", balancer))
        for path, body in LATE.items()
    }
    assert {stream.response.status for stream in asked.values()} == {200}, "it came with a comment"
    for one in busy:
        one.leave()
    found = {key: seen(stream.rest())["events"] for key, stream in asked.items()}
    for path in LATE:
        assert found["through", path] == found["direct", path], path
        *named, (name, error) = found["direct", path]
        assert named == (["event: error"] if path in ("/v1/messages", "/v1/responses") else [])
        assert (name, error["error"]["code"]) == ("data", "context_length_exceeded")


def test_an_administrator_sees_all_servers_at_a_balancer(server: Router, balancer: Service) -> None:
    """That is what may differ: it says which server said what."""
    root = {**ALICE, "X-Copilot-Role": "admin"}
    for method, path in (("GET", "/running"), ("GET", "/upstream/tiny/health"), ("POST", "/api/models/unload/tiny")):
        direct, through = server.admin.request(method, path), balancer.request(method, path, None, root)
        assert through.status == direct.status
        more = through.json
        if through.status == 200:
            assert more.pop("away") == {}
            assert (more["running"][0] if "running" in more else more).pop("servers") in ({"server": "ok"}, {"server": "ready"})
        assert more == direct.json


# The official clients, asking directly and through a balancer.


@dataclass(frozen=True)
class Way:
    """How a client comes to the models."""

    path: str  # of a Unix socket

    def http(self) -> httpx2.Client:
        return httpx2.Client(transport=httpx2.HTTPTransport(uds=self.path), headers=dict(ALICE))

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(api_key="x", base_url="http://localhost/v1", max_retries=0, http_client=self.http())

    @property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(api_key="x", base_url="http://localhost", max_retries=0, http_client=self.http())


@pytest.fixture(params=["direct", "through a balancer"])
def way(request: pytest.FixtureRequest, server: Router, balancer: Service) -> Way:
    return Way(str(server.socket if request.param == "direct" else balancer.work / "socket"))


@pytest.fixture
def busy(server: Router) -> Iterator[list[Stream]]:
    """Two streams that hold all slots."""
    streams = [server.developer.begin(12000, stream=True) for _slot in range(2)]
    for stream in streams:
        stream.first()
    yield streams
    for stream in streams:
        stream.leave()
    server.wait_state(busy={"tiny": 0}, queued={"tiny": 0})


def test_openai_s_client_chats(way: Way) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "extra_body": SAME}
    whole = way.openai.chat.completions.create(**asked)
    pieces = list(way.openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said = "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)
    assert said == whole.choices[0].message.content
    assert pieces[-1].usage == whole.usage
    assert whole.usage is not None and whole.usage.completion_tokens == 8


def test_openai_s_client_responds(way: Way) -> None:
    answer = way.openai.responses.create(model="tiny", input="hello", max_output_tokens=8, extra_body=SAME)
    events = list(way.openai.responses.create(model="tiny", input="hello", max_output_tokens=8, extra_body=SAME, stream=True))
    assert answer.output_text
    assert events[-1].type == "response.completed" and events[-1].response.output_text == answer.output_text


def test_openai_s_client_lists_models(way: Way) -> None:
    (one,) = way.openai.models.list().data
    assert (one.id, (one.model_extra or {})["meta"]["n_ctx"]) == ("tiny", 16384)
    assert way.openai.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as found:
        way.openai.models.retrieve("gpt-9")
    assert found.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
def test_openai_s_client_reads_what_does_not_fit(way: Way, stream: bool) -> None:
    asked: Any = {"model": "tiny", "messages": LONG, "stream": stream}
    with pytest.raises(openai.BadRequestError) as found:
        way.openai.chat.completions.create(**asked)
    assert found.value.code == "context_length_exceeded"
    assert isinstance(found.value.body, dict) and found.value.body["n_prompt_tokens"] > found.value.body["n_ctx"] == 16384


def test_openai_s_client_raises_an_error_that_comes_late(way: Way, busy: list[Stream]) -> None:
    stream = way.openai.chat.completions.create(model="tiny", messages=LONG, stream=True)  # the head came with a comment
    for one in busy:
        one.leave()
    with pytest.raises(openai.APIError) as found:
        list(stream)
    assert found.value.code == "context_length_exceeded"


def test_openai_s_client_raises_one_of_a_response_too(way: Way, busy: list[Stream]) -> None:
    stream = way.openai.responses.create(model="tiny", input=LONG[0]["content"], stream=True)
    for one in busy:
        one.leave()
    with pytest.raises(openai.APIError) as found:
        list(stream)
    assert "context_length_exceeded" in json.dumps(found.value.body)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "input_not_supported"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "write"}}}, "invalid_tool_choice"),
        ({"messages": "x"}, "invalid_history"),
        ({"extra_headers": {"Content-Encoding": "gzip"}}, "unsupported_content_encoding"),
    ],
)
def test_openai_s_client_reads_what_is_wrong(way: Way, more: Any, code: str) -> None:
    with pytest.raises(openai.APIStatusError) as found:
        way.openai.chat.completions.create(**{"model": "tiny", "messages": HELLO, **more})
    assert (found.value.code, found.value.status_code in (400, 415)) == (code, True)


def test_openai_s_client_calls_a_tool(way: Way) -> None:
    named: Any = {"type": "function", "function": {"name": "read"}}
    asked: Any = {"model": "tiny", "messages": HELLO, "tools": [TOOL], "max_tokens": 200, "temperature": 0, "seed": 1}
    answers = [way.openai.chat.completions.create(**asked, tool_choice=choice) for choice in ("required", named)]
    assert answers[0].choices[0].message == answers[1].choices[0].message, "there is one tool"
    assert answers[0].choices[0].finish_reason in ("tool_calls", "length"), "it has no other end"


def test_anthropic_s_client_chats(way: Way) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "extra_body": SAME}
    whole = way.anthropic.messages.create(**asked)
    with way.anthropic.messages.stream(**asked) as stream:
        said = stream.get_final_text()
    assert said == "".join(part.text for part in whole.content if part.type == "text")
    assert whole.usage.output_tokens == 8
    counted = way.anthropic.messages.count_tokens(**{name: asked[name] for name in ("model", "messages")})
    assert counted.input_tokens == whole.usage.input_tokens + (whole.usage.cache_read_input_tokens or 0)


def test_anthropic_s_client_reads_errors(way: Way) -> None:
    with pytest.raises(anthropic.BadRequestError) as found:
        way.anthropic.messages.create(model="tiny", messages=LONG, max_tokens=8)
    assert "context_length_exceeded" in str(found.value)


def test_anthropic_s_client_raises_an_error_that_comes_late(way: Way, busy: list[Stream]) -> None:
    stream = way.anthropic.messages.create(model="tiny", messages=LONG, max_tokens=8, stream=True)
    for one in busy:
        one.leave()
    with pytest.raises(anthropic.APIStatusError) as found:
        list(stream)
    assert "context_length_exceeded" in str(found.value)


def test_both_clients_raise_an_error_amid_an_answer(way: Way, llama: EngineOnSocket, server: Router) -> None:
    """The likeliest token, again and again, ends no answer: so it is there when the engine dies."""
    begun: Any = {"model": "tiny", "stream": True, "extra_body": {"temperature": 0}}
    response = way.openai.responses.create(**begun, input="hello", max_output_tokens=12000)
    message = way.anthropic.messages.create(**begun, messages=HELLO, max_tokens=12000)
    try:
        for stream in (response, message):
            said = [next(iter(stream)).type for _event in range(8)]
            assert said[-1] in ("response.output_text.delta", "content_block_delta")
        llama.kill()
        with pytest.raises(openai.APIError) as found:
            list(response)
        assert "engine_failed" in json.dumps(found.value.body)
        with pytest.raises(anthropic.APIStatusError) as raised:
            list(message)
        assert "engine_failed" in str(raised.value)
    finally:
        llama.kill()
        llama.start()
        server.wait_state(health="ready")
