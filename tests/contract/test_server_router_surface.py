# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server shows: its whole way in, from HAProxy to llama-server. A balancer shows the same, which its own tests compare."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import DEVELOPERS, Developer, Gateway, entry
from router_rig import EngineOnSocket, Router

HELLO = [{"role": "user", "content": "hello"}]
LONG = [{"role": "user", "content": "word " * 60000}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
WIZARDRY = {"type": "function", "function": {"name": "x", "parameters": {"type": "wizard"}}}
FILE = {"type": "file", "file": {"file_data": "https://example.org/x.pdf", "filename": "x.pdf"}}
DOCUMENT = {"type": "document", "source": {"type": "url", "url": "https://example.org/x.pdf"}}
ADMIN_KEY = "sk-admin-of-the-contract-tests"
CHAT, COMPLETIONS, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
COUNT = f"{MESSAGES}/count_tokens"


@pytest.fixture(scope="module")
def gateway(
    router_venv: Path, engine: Path, model: Path, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    work = tmp_path_factory.mktemp("server")
    llama = EngineOnSocket(engine, model, work, options=["--cors-origins", "localhost"])  # as the role has it
    router = Router(router_venv, llama, work)
    unlimited = dict.fromkeys(("gateway_key_requests", "gateway_key_concurrent", "gateway_address_requests"), 0)
    keys = [*DEVELOPERS, entry("root", ADMIN_KEY, "admin")]
    upstream = {"gateway_upstream": f"unix@{router.socket}", "gateway_keys": keys}
    certificates = {
        "gateway_client_verify": "optional",
        "gateway_client_ca_path": str(fleet_ca[0]),
        "gateway_client_replaces_key": True,
    }
    found = Gateway(work, fleet_ca, gateway_address_concurrent=0, **upstream, **unlimited, **certificates)
    llama.start()
    router.start()
    router.wait_state(health="ready")
    found.start()
    yield found
    found.stop()
    router.stop()
    llama.kill()


def ask(developer: Developer, path: str, body: Any, method: str = "POST", **headers: str) -> Any:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return developer.request(method, path, content, **headers)


# Errors

WRONG = {
    "a list": (CHAT, b"[]", 400, "invalid_json", "must be a JSON object"),
    "null": (CHAT, b"null", 400, "invalid_json", "must be a JSON object"),
    "a number": (CHAT, b"7", 400, "invalid_json", "must be a JSON object"),
    "half a body": (CHAT, b'{"messages": [', 400, "invalid_json", "not valid JSON"),
    "no text": (CHAT, b'{"messages": "\xff"}', 400, "invalid_json", "UTF-8"),
    "nothing": (CHAT, b"", 400, "invalid_json", "not valid JSON"),
    "half a body, counted": (COUNT, b"{", 400, "invalid_json", "not valid JSON"),
    "what does not fit": (CHAT, {"messages": LONG}, 400, "context_length_exceeded", "Shorten the conversation"),
    "a stream that does not fit": (CHAT, {"messages": LONG, "stream": True}, 400, "context_length_exceeded", "(16384 tokens)"),
    "a prompt that does not fit": (COMPLETIONS, {"prompt": "word " * 60000}, 400, "context_length_exceeded", "start a new one"),
    "a picture": (CHAT, {"messages": [{"role": "user", "content": [PICTURE]}]}, 400, "input_not_supported", "leave it out"),
    "messages that are none": (CHAT, {"messages": "x"}, 400, "invalid_history", "must be a list"),
    "a number that is none": (CHAT, {"messages": HELLO, "temperature": "hot"}, 400, "invalid_value", "'temperature': type must"),
    "a tool whose schema is none": (
        CHAT,
        {"messages": HELLO, "tools": [WIZARDRY]},
        400,
        "invalid_schema",
        "Correct it in tools",
    ),
    "a file": (CHAT, {"messages": [{"role": "user", "content": [FILE]}]}, 400, "input_not_supported", "send text"),
    "a document": (
        MESSAGES,
        {"messages": [{"role": "user", "content": [DOCUMENT]}]},
        400,
        "input_not_supported",
        "send the text",
    ),
    "tools that are none": (CHAT, {"messages": HELLO, "tools": [{"name": "x"}]}, 400, "invalid_request", "tools"),
    "a suffix": (COMPLETIONS, {"prompt": "a", "suffix": "b"}, 400, "unsupported_parameter", "/infill"),
    "the middle of another model": ("/infill", {"input_prefix": "a", "input_suffix": "b"}, 501, "infill_not_supported", "choose"),
    "another company's messages": (MESSAGES, {"messages": LONG}, 400, "context_length_exceeded", "Shorten"),
    "no prompt": (COMPLETIONS, {}, 400, None, "prompt"),
    "no messages": (MESSAGES, {}, 400, "invalid_history", "must be a list"),
    "no messages, counted": (COUNT, {}, 400, "invalid_request", "'messages' is required"),
    "a list, counted": (COUNT, b"[]", 400, "invalid_json", "must be a JSON object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_request_is_said_in_one_form(alice: Developer, name: str) -> None:
    path, body, status, code, words = WRONG[name]
    answer = ask(alice, path, body)
    assert answer.status == status, answer.text
    assert code in (None, answer.error["code"])
    assert words in answer.error["message"]
    assert (answer.error["type"], answer.error["param"]) == ("server_error" if status > 499 else "invalid_request_error", None)
    assert (answer.json.get("type") == "error") is (path in (MESSAGES, COUNT))


def test_how_much_too_long_it_is(alice: Developer) -> None:
    error = ask(alice, CHAT, {"messages": LONG}).error
    assert (error["n_ctx"], error["n_prompt_tokens"] > 60000) == (16384, True)


def test_a_compressed_body_is_not_taken(alice: Developer) -> None:
    answer = ask(alice, CHAT, gzip.compress(b"{}"), **{"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_content_encoding")


# What there is


def test_models_one_by_one(alice: Developer) -> None:
    listed = alice.models().json["data"]
    assert [(one["id"], one["meta"]["n_ctx"]) for one in listed] == [("tiny", 16384)]
    one = alice.request("GET", "/v1/models/tiny")
    assert (one.status, one.json["id"], one.json["meta"]["n_ctx"]) == (200, "tiny", 16384)
    unknown = alice.request("GET", "/v1/models/gpt-9")
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models", 200), ("/v1/models/tiny", 200), ("/v1/models/x", 404), ("/health", 200)]
)
def test_head_is_get_without_its_content(alice: Developer, path: str, status: int) -> None:
    answer = alice.request("HEAD", path)
    assert (answer.status, answer.text) == (status, "")


@pytest.mark.parametrize("path", ["/health", "/readyz", "/health/liveliness", "/health/liveness", "/health/readiness"])
def test_all_ask_for_health_and_need_no_key(nobody: Developer, path: str) -> None:
    answer = nobody.request("GET", path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/v1/responses", {"input": "hello", "max_output_tokens": 4}, "output"),
        (MESSAGES, {"messages": HELLO, "max_tokens": 4}, "content"),
        ("/v1/messages/count_tokens", {"messages": HELLO}, "input_tokens"),
        (CHAT, {"messages": HELLO, "max_tokens": 4}, "choices"),
        (COMPLETIONS, {"prompt": "a", "suffix": "", "max_tokens": 4}, "choices"),
    ],
)
def test_every_interface_is_there(alice: Developer, path: str, body: Any, found: str) -> None:
    answer = ask(alice, path, body)
    assert answer.status == 200, answer.text
    assert answer.json[found]


def test_ranking_and_embeddings_are_the_engines_to_refuse(alice: Developer) -> None:
    for path in ("/v1/rerank", "/v1/embeddings"):
        answer = ask(alice, path, {"input": "x", "query": "x", "documents": ["y"]})
        assert (answer.status, answer.error["code"].endswith("_not_supported")) == (501, True), answer.text


@pytest.mark.parametrize(
    ("origin", "allowed"), [("http://localhost:3000", "http://localhost:3000"), ("https://evil.example", None)]
)
def test_a_browser_is_told_who_may_ask(nobody: Developer, alice: Developer, origin: str, allowed: str | None) -> None:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = nobody.request("OPTIONS", CHAT, Origin=origin, **wanted)
    assert (preflight.status, preflight.headers.get("access-control-allow-origin")) == (200, allowed)
    assert "POST" in preflight.headers["access-control-allow-methods"]
    for path in ("/v1/models", "/v1/models/tiny"):
        assert alice.request("GET", path, Origin=origin).headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", "Bearer {}"),
        ("authorization", "bearer {}"),
        ("AUTHORIZATION", "BEARER {}"),
        ("Authorization", "  Bearer   {}  "),
        ("Authorization", "Bearer \t{}\t"),
        ("X-Api-Key", "{}"),
        ("x-api-key", "  {} \t"),
    ],
)
def test_a_key_is_a_key_however_it_is_written(alice: Developer, header: str, value: str) -> None:
    stranger = replace(alice, key=None)
    assert stranger.request("GET", "/v1/models", **{header: value.format(alice.key)}).status == 200
    assert stranger.request("GET", "/v1/models", **{header: value.format(f"{alice.key}x")}).status == 401


def test_models_are_for_administrators_to_load_and_unload(alice: Developer) -> None:
    admin = replace(alice, key=ADMIN_KEY)
    for method, path, status in (
        ("GET", "/running", 200),
        ("POST", "/api/models/unload", 409),
        ("POST", "/api/models/unload/tiny", 409),
        ("GET", "/upstream/tiny/health", 200),
    ):
        refused = alice.request(method, path)
        assert (refused.status, refused.error["code"]) == (403, "admin_only")
        assert admin.request(method, path).status == status
    assert [one["id"] for one in admin.request("GET", "/running").json["running"]] == ["tiny"]


def test_administrators_come_with_their_certificate_too(certified: Callable[[str], Developer]) -> None:
    assert certified("root").request("GET", "/running").status == 200
    refused = certified("alice").request("GET", "/running")
    assert (refused.status, refused.error["code"]) == (403, "admin_only")


# Late errors


def test_an_error_that_comes_late_is_the_last_event_in_the_words_of_its_interface(alice: Developer) -> None:
    holders = [alice.ask(4000) for _slot in range(2)]
    for holder in holders:
        holder.first()
    bodies = {
        CHAT: {"messages": LONG},
        MESSAGES: {"messages": LONG, "max_tokens": 4},
        "/v1/responses": {"input": "word " * 60000},
    }
    asked = {path: alice.send("POST", path, json.dumps({**body, "stream": True})) for path, body in bodies.items()}
    assert [stream.response.status for stream in asked.values()] == [200] * 3  # with a comment
    for holder in holders:
        holder.leave()
    for path, stream in asked.items():
        last = stream.rest().text.rstrip("\n").split("\n\n")[-1].split("\n")
        error = json.loads(last[-1].removeprefix("data: "))
        assert error["error"]["code"] == "context_length_exceeded"
        named = [] if path == CHAT else ["event: error"]
        assert (last[:-1], error.get("type")) == (named, "error" if named else None)
