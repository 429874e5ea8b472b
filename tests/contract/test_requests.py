# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a developer's program gets from the service when all is well, and when its request is wrong."""

from __future__ import annotations

import gzip
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rig import ALICE, BACKEND_KEY, FaultProxy, Llama, Member, Service, count, each, wait_for


def test_an_answer_at_once_and_as_a_stream(service: Service) -> None:
    whole = service.chat(4)
    assert whole.status == 200
    assert whole.json["usage"]["completion_tokens"] == 4

    stream = service.chat(4, stream=True, stream_options={"include_usage": True})
    *pieces, done = stream.events
    assert done == "[DONE]"
    assert "".join(choice["delta"].get("content") or "" for piece in pieces for choice in json.loads(piece)["choices"])
    assert json.loads(pieces[-1])["usage"]["completion_tokens"] == 4


def test_the_older_completions_work(service: Service) -> None:
    body = {"model": "tiny", "prompt": "def f", "max_tokens": 3, "ignore_eos": True}
    assert service.request("POST", "/v1/completions", body).json["choices"][0]["text"]
    assert service.request("POST", "/v1/completions", {**body, "stream": True}).events[-1] == "[DONE]"


def test_what_a_client_asks_arrives_unchanged(service: Service, proxies: list[FaultProxy]) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "read",
            "description": "Reads a file.",
            "strict": True,
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "additionalProperties": False},
        },
    }
    asked = {
        "tools": [tool],
        "tool_choice": "auto",
        "cache_prompt": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "id_slot": 0,
        "temperature": 0.1,
        "top_k": 7,
    }
    answer = service.chat(2, **asked)
    assert answer.status == 200, answer.text
    [arrived] = [body for proxy in proxies for body in proxy.bodies]
    assert {name: arrived.get(name) for name in asked} == asked


def test_a_backend_may_call_the_model_otherwise(service: Service, proxies: list[FaultProxy], members: list[Member]) -> None:
    members[0].models = {"coder": "tiny"}
    service.pool(members[0])
    service.settle("a")
    assert service.chat(2, model="coder").status == 200
    assert [body["model"] for body in proxies[0].bodies] == ["tiny"]


def test_a_backend_may_be_another_engine(service: Service, proxies: list[FaultProxy], members: list[Member]) -> None:
    proxies[0].foreign = True
    service.wait_pool(members[0])
    assert service.chat(2).status == 200
    members[0].key = "sk-a-wrong-key-of-the-backend"
    service.pool(members[0])
    service.wait_state("a", health="refused")


def test_models_are_listed_once_with_their_context(service: Service) -> None:
    (one,) = wait_for("the context", lambda: [one for one in service.request("GET", "/v1/models").json["data"] if "meta" in one])
    assert (one["id"], one["object"], one["meta"]["n_ctx"]) == ("tiny", "model", 4096)
    assert service.request("GET", "/v1/models/tiny").json == one
    head = service.request("HEAD", "/v1/models")
    assert (head.status, head.text) == (200, "")
    missing = service.request("GET", "/v1/models/gpt-9")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")


HEALTH = ["/health", "/v1/health", "/readyz", "/health/liveliness", "/health/liveness", "/health/readiness"]


def test_health_is_known_by_several_names(service: Service) -> None:
    assert {path: service.request("GET", path, who={}).text for path in HEALTH} == dict.fromkeys(HEALTH, '{"status": "ok"}')


@pytest.mark.parametrize("stream", [False, True])
def test_the_body_arrives_byte_for_byte_whatever_litellm_knows(service: Service, proxies: list[FaultProxy], stream: bool) -> None:
    given = b"""{ "model" :"tiny","messages":[{"role":"user","content":"caf\\u00e9 \xc3\xa9","x":null}],
        "max_tokens":2, "verbosity":"low","thinking":{"type":"enabled"}, "reasoning_effort":"low","temperature":0.10,"min_p":1e-2,
        "user":7,"metadata":{"a":[]},"litellm_metadata":1,"service_tier":"x","guardrails":["y"],"stream":%s}""" % (
        b"true" if stream else b"false"
    )
    answer = service.request("POST", "/v1/chat/completions", given)
    assert answer.status == 200, answer.text
    assert [body for proxy in proxies for body in proxy.raw] == [given]


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "api_key", "user_config", "model_list", "fallbacks", "custom_llm_provider"]
)
def test_nothing_in_a_body_routes_a_request(service: Service, proxies: list[FaultProxy], name: str) -> None:
    elsewhere = {"fallbacks": [{"model": "other", "api_base": "http://127.0.0.1:1"}], "user_config": {"model_list": []}}
    asked = {name: elsewhere.get(name, "http://127.0.0.1:1/")}
    assert service.chat(2, **asked).status == 200
    ((arrived),) = [body for proxy in proxies for body in proxy.bodies]
    assert {name: arrived[name]} == asked


@pytest.fixture(scope="module")
def all_written(running: Service) -> None:
    """Waits until the log of the service has all that was answered: a request's line comes after its answer."""
    seen = [""]

    def quiet() -> bool:
        seen.append(running.log)
        return seen[-1] == seen[-2]

    wait_for("nothing is added to the log for a second", quiet, every=1)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/infill"])
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        pytest.param(b"[]", {}, 400, "invalid_json", id="a list"),
        pytest.param(b"null", {}, 400, "invalid_json", id="null"),
        pytest.param(b"7", {}, 400, "invalid_json", id="a number"),
        pytest.param(b'{"model": ', {}, 400, "invalid_json", id="half of it"),
        pytest.param(b"", {}, 400, "invalid_json", id="nothing"),
        pytest.param(b"{}", {"Content-Type": "text/plain"}, 400, "invalid_json", id="of another kind"),
        pytest.param(b'{"model": 7}', {}, 400, "model_missing", id="a number for a model"),
        pytest.param(gzip.compress(b"{}"), {"Content-Encoding": "gzip"}, 415, "unsupported_content_encoding", id="compressed"),
    ],
)
def test_what_is_no_question_is_refused_in_openai_s_form(
    all_written: None,
    service: Service,
    proxies: list[FaultProxy],
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    before = service.log
    answer = service.request("POST", path, body, {**ALICE, **headers})
    assert (answer.status, answer.error["code"]) == (status, code)
    assert [body for proxy in proxies for body in proxy.raw] == []
    assert service.log == before


HELLO = [{"role": "user", "content": "hello"}]


def test_what_does_not_fit_is_refused_once_with_its_numbers(service: Service, proxies: list[FaultProxy]) -> None:
    long = [{"role": "user", "content": "word " * 20000}]
    for number, stream in enumerate((False, True), 1):
        answer = service.chat(messages=long, stream=stream)
        assert answer.status == 400
        assert answer.error["n_prompt_tokens"] > answer.error["n_ctx"] == 4096
        assert sum(count(proxies)) == number
    service.settle("a", "b", "c")


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        pytest.param("/infill", {"input_prefix": "a", "input_suffix": "b"}, 501, id="a model without such tokens"),
        pytest.param("/v1/responses", {"input": "hello", "max_output_tokens": 2}, "output", id="as Codex asks"),
        pytest.param("/v1/messages?beta=true", {"messages": HELLO, "max_tokens": 2}, "content", id="as Claude Code asks"),
        pytest.param("/v1/messages/count_tokens", {"messages": HELLO}, "input_tokens", id="counting"),
        pytest.param("/v1/rerank", {"query": "x", "documents": ["y"]}, 501, id="a model that does not rank"),
    ],
)
def test_what_litellm_has_no_api_for_is_carried_all_the_same(
    service: Service, path: str, body: dict[str, Any], found: str | int
) -> None:
    answer = service.request("POST", path, {"model": "tiny", **body})
    if isinstance(found, int):
        assert (answer.status, answer.error["type"]) == (found, "not_supported_error")
    else:
        assert answer.status == 200 and found in answer.json, answer.text
    service.settle("a", "b", "c")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_such_streams_end_as_they_should(service: Service, path: str) -> None:
    body = {"model": "tiny", "input": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "stream": True}
    answer = service.request("POST", path, body)
    assert answer.text.rstrip().rpartition("event: ")[2].partition("\n")[0] in ("response.completed", "message_stop")
    assert "broke off" not in answer.text


def test_a_page_of_this_machine_may_ask(service: Service) -> None:
    page = {"Origin": "http://localhost:3000"}
    asked = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    answer = service.request("OPTIONS", "/v1/chat/completions", who=asked)
    assert answer.status == 200
    cors = {name: value for name, value in answer.headers.items() if name.startswith("access-control")}
    assert cors == {
        "access-control-allow-origin": "http://localhost:3000",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
        "access-control-allow-headers": "*",
    }
    assert service.request("GET", "/v1/models", who={**ALICE, **page}).headers["access-control-allow-origin"] == page["Origin"]
    stranger = service.request("GET", "/v1/models", who={**ALICE, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


def test_a_method_that_a_path_has_not(service: Service) -> None:
    for method, path in (("GET", "/v1/chat/completions"), ("POST", "/v1/models"), ("DELETE", "/v1/models/tiny")):
        answer = service.request(method, path, {} if method == "POST" else None)
        assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


def test_an_unknown_model_is_refused_with_those_there_are(service: Service, proxies: list[FaultProxy]) -> None:
    answer = service.chat(model="gpt-9")
    assert answer.status == 404
    assert "gpt-9" in answer.error["message"]
    assert "There is: tiny." in answer.error["message"]
    assert count(proxies) == [0, 0, 0]


@pytest.mark.parametrize(
    "who",
    [
        pytest.param({}, id="nobody"),
        pytest.param({"X-Copilot-User": "alice"}, id="without a role"),
        pytest.param({"X-Copilot-Role": "developer"}, id="without a name"),
        pytest.param({"X-Copilot-User": "", "X-Copilot-Role": "developer"}, id="an empty name"),
        pytest.param({"X-Copilot-User": "alice", "X-Copilot-Role": "root"}, id="a role that there is not"),
        pytest.param({"Authorization": f"Bearer {BACKEND_KEY}"}, id="a key, which only the gateway knows"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_who_was_not_let_in_by_the_gateway_gets_no_answer(
    service: Service, proxies: list[FaultProxy], who: dict[str, str], stream: bool
) -> None:
    answer = service.request("POST", "/v1/chat/completions", {"model": "tiny", "messages": [], "stream": stream}, who)
    assert answer.status == 401
    assert "The request names no user" in answer.error["message"]
    assert service.request("GET", "/v1/models", who=who).status == 401
    assert count(proxies) == [0, 0, 0]


@pytest.mark.parametrize("role", ["developer", "admin", "balancer"])
def test_a_server_of_the_fleet_is_told_who_asks(service: Service, proxies: list[FaultProxy], role: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    who = {"X-Copilot-User": "bob", "X-Copilot-Role": role, "Authorization": "Bearer sk-of-bob"}
    assert service.request("POST", "/v1/chat/completions", body, who).status == 200
    (head,) = [head for proxy in proxies for head in proxy.heads]
    assert "\r\nx-copilot-user: bob\r\n" in head and "\r\nx-copilot-role: balancer\r\n" in head
    assert f"\r\nauthorization: bearer {BACKEND_KEY}\r\n" in head and "sk-of-bob" not in head


def test_a_stranger_s_engine_is_not_told_who_asks(service: Service, proxies: list[FaultProxy], members: list[Member]) -> None:
    for one in members:
        one.foreign = True
    service.wait_pool(*members)
    assert service.chat().status == 200
    (head,) = [head for proxy in proxies for head in proxy.heads]
    assert "x-copilot" not in head and "alice" not in head


HIDDEN = ["/", "/ui/", "/docs", "/redoc", "/openapi.json", "/model/info", "/key/generate", "/mcp", "/settings"]
HIDDEN += ["/public/model_hub", "/.well-known/openid-configuration", "/v1/files"]


def test_nothing_else_of_litellm_answers(service: Service) -> None:
    for path in HIDDEN:
        for method in ("GET", "POST"):
            answer = service.request(method, path, {} if method == "POST" else None)
            assert answer.status == 404
            assert answer.error["message"] == f"There is no {method} {path} here."


def test_the_clients_own_mistakes_are_not_tried_elsewhere(service: Service, proxies: list[FaultProxy]) -> None:
    for number, (status, stream) in enumerate(product((400, 404, 413, 422), (False, True)), start=1):
        for proxy in proxies:
            proxy.fault = str(status)
        answer = service.chat(stream=stream)
        assert answer.status == status
        assert f"fault {status}" in answer.error["message"]
        assert sum(count(proxies)) == number
    service.settle("a", "b", "c")


def test_a_real_mistake_gets_llama_servers_own_words(service: Service, proxies: list[FaultProxy]) -> None:
    answer = service.chat(grammar="root ::= (")
    assert answer.status == 400
    assert "grammar" in answer.error["message"]
    assert sum(count(proxies)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"model": "my secret"}, id="unknown model"),
        pytest.param({"messages": [{"role": "user", "content": {"x": "my secret"}}]}, id="content of no kind"),
        pytest.param({"messages": "my secret"}, id="messages that are none"),
        pytest.param({"tools": [{"type": "my secret"}]}, id="tool of an unknown type"),
        pytest.param({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "my secret"}}}}, id="schema"),
    ],
)
def test_a_request_is_not_in_the_log_though_its_error_quotes_it(service: Service, wrong: dict[str, Any]) -> None:
    before = service.log
    assert service.chat(**wrong).status in (400, 404, 500)
    assert "my secret" not in service.log.removeprefix(before)


def test_what_no_backend_was_started_for_takes_none_out(service: Service) -> None:
    for _round in range(4):
        assert service.request("POST", "/v1/embeddings", {"model": "tiny", "input": "x"}).status == 501
    service.settle("a", "b", "c")


def test_a_burst_goes_one_each(service: Service, proxies: list[FaultProxy]) -> None:
    streams = [service.begin(8, stream=True) for _round in proxies]
    assert [answer.events[-1] for answer in each(streams)] == ["[DONE]"] * len(proxies)
    assert count(proxies) == [1, 1, 1]


def test_a_queued_request_is_served_in_its_turn(service: Service, members: list[Member], llamas: list[Llama]) -> None:
    service.pool(members[0])
    service.settle("a")
    first = service.begin(600, stream=True)
    first.first()
    queued = [service.begin(2, stream=stream) for stream in (True, False)]
    assert [answer.status for answer in each([first, *queued])] == [200, 200, 200]


def test_silence_is_cut_after_the_time_that_is_set(service: Service, members: list[Member]) -> None:
    service.wait_pool(members[0], request_timeout=1)
    first = service.begin(3000, stream=True)
    first.first()
    answer = service.chat(2)
    assert answer.status == 503
    assert "retry-after" in answer.headers
    first.leave()


WAYS_TO_LEAVE = ["before the first token", "in the stream", "before a whole answer", "while queued", "while queued, streaming"]


@pytest.mark.parametrize("way", WAYS_TO_LEAVE)
def test_a_client_that_leaves_frees_its_slot(service: Service, llamas: list[Llama], members: list[Member], way: str) -> None:
    service.pool(members[0])
    service.settle("a")
    served = service.state["a"]["served"]
    before = None
    if way.startswith("while queued"):
        before = service.begin(3000, stream=True)
        before.first()
    long = "word " * 3500 if way == "before the first token" else "hello"
    messages = [{"role": "user", "content": long}]
    leaving = service.begin(3000 if long == "hello" else 100, messages=messages, stream="stream" in way or "token" in way)
    if way == "in the stream":
        leaving.first(4)
    else:
        service.wait_state("a", in_flight=2 if before else 1)
    if not before:
        wait_for("the slot computes", lambda: llamas[0].busy)
    leaving.leave()
    service.wait_state("a", in_flight=1 if before else 0)
    if before:
        before.leave()
    service.wait_state("a", in_flight=0, failures=0, state="closed")
    llamas[0].wait_idle()
    assert service.state["a"]["served"] == served, "it was answered to its end, for nobody"


def test_a_server_of_this_host_is_asked_by_its_unix_socket(service: Service, llamas: list[Llama], tmp_path: Path) -> None:
    proxy = FaultProxy(llamas[0].port, path=tmp_path / "router.sock")
    service.wait_pool(Member("here", proxy.port, socket=str(tmp_path / "router.sock")))
    assert service.chat().status == 200
    assert service.chat(stream=True).events[-1] == "[DONE]"
    proxy.close()
    service.wait_state("here", health="down")
    assert service.chat().status == 503
