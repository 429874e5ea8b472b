# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What llama-server says, as clients get it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from copilot_router.answers import error_of, listed, with_errors

TEMPLATE = """
------------
While executing CallExpression at line 12, column 20 in source:
...
Error: Jinja Exception: After the optional system message, roles must alternate."""


def said(code: int, message: str, kind: str = "server_error", **more: Any) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "type": kind, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "content", "expected", "code", "words"),
    [
        pytest.param(500, said(500, TEMPLATE), 400, "template_refused", "roles must alternate. Change it", id="template"),
        pytest.param(
            500,
            said(500, "image input is not supported - hint: x"),
            400,
            "input_not_supported",
            "support image input",
            id="image",
        ),
        pytest.param(
            500, said(500, "[json.exception.parse_error.101] parse error at 1"), 400, "invalid_json", "not valid JSON", id="JSON"
        ),
        pytest.param(
            500,
            said(500, "[json.exception.type_error.302] type must be string, but is number"),
            400,
            "invalid_value",
            "type must be string",
            id="type",
        ),
        pytest.param(
            500, said(500, "Failed to parse tools: a; tools = [...]"), 400, "invalid_request", "parse tools: a.", id="tools"
        ),
        pytest.param(
            500,
            said(500, "JSON schema error at #: unrecognized type x"),
            400,
            "invalid_schema",
            "#: unrecognized type x.",
            id="schema",
        ),
        pytest.param(
            400,
            said(400, "Field 'json_schema': JSON schema conversion failed:\nof x", "invalid_request_error"),
            400,
            "invalid_schema",
            "be converted to a grammar: of x. Correct it",
            id="its conversion",
        ),
        pytest.param(
            400,
            said(400, "Field 'n': [json.exception.type_error.302] type must be number", "invalid_request_error"),
            400,
            "invalid_value",
            "is wrong: 'n': type must be number.",
            id="field",
        ),
        pytest.param(400, said(400, "unsupported content[].type"), 400, "input_not_supported", "send text", id="part"),
        pytest.param(400, said(400, "Model 'x' says no", "invalid_request_error"), 400, "400", "says no", id="as it is"),
        pytest.param(400, said(400, "model 'x' not found"), 404, "model_not_found", "'x' does not exist", id="model"),
        pytest.param(404, said(404, "File Not Found"), 404, "unknown_url", "GET /nowhere", id="URL"),
        pytest.param(
            501, said(501, "Infill is not supported by this model: x"), 501, "infill_not_supported", "choose one", id="infill"
        ),
        pytest.param(
            500,
            said(500, "The model produced output that does not match the expected peg-native format"),
            500,
            "unreadable_answer",
            "try again",
            id="the model's fault",
        ),
        pytest.param(500, said(500, "Compute error."), 500, "500", "Compute error.", id="its own fault"),
        pytest.param(500, b"Internal Server Error", 500, "500", "Internal Server Error", id="text"),
        pytest.param(415, b"", 415, "415", "no reason", id="nothing"),
        pytest.param(400, b'{"error": "as text"}', 400, "400", "as text", id="error as text"),
    ],
)
def test_errors_have_one_form(status: int, content: bytes, expected: int, code: str, words: str) -> None:
    found, error = error_of(status, content, "GET /nowhere")
    assert (found, error["code"], error["param"]) == (expected, code, None)
    assert words in error["message"]
    assert error["type"] == ("server_error" if expected >= 500 else "invalid_request_error")


def test_what_is_too_long_has_its_sizes_and_the_words_that_agents_look_for() -> None:
    content = said(400, "request (9 tokens) exceeds", "exceed_context_size_error", n_prompt_tokens=9, n_ctx=8)
    status, error = error_of(400, content, "")
    assert (status, error["code"], error["n_prompt_tokens"], error["n_ctx"]) == (400, "context_length_exceeded", 9, 8)
    assert "exceeds the available context size" in error["message"]
    assert "maximum context length is 8 tokens" in error["message"]


def through(*pieces: bytes, typed: bool = False) -> bytes:
    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def play() -> bytes:
        return b"".join([piece async for piece in with_errors(given(), typed=typed)])

    return asyncio.run(play())


def test_an_error_in_a_stream_has_the_same_form() -> None:
    found = through(b'data: {"choices":[]}\n\n', b"data: " + said(500, "Compute error.") + b"\n\n")
    first, last = found.decode().split("\n\n", 1)
    assert first == 'data: {"choices":[]}'
    assert json.loads(last.removeprefix("data: "))["error"] == {
        "message": "Compute error.", "type": "server_error", "param": None, "code": "500"}  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(b'event: error\ndata: {"code":500,"message":"Compute error.","type":"server_error"}\n\n', id="Anthropic's"),
        pytest.param(b"data: " + said(500, "Compute error.") + b"\n\n", id="OpenAI's"),
    ],
)
def test_an_error_of_a_typed_stream_says_so(event: bytes) -> None:
    begins = b'event: message_start\ndata: {"type":"message_start"}\n\n'
    name, data = through(begins + event, typed=True).removeprefix(begins).decode().rstrip().split("\n")
    content = json.loads(data.removeprefix("data: "))
    assert (name, content["type"], content["error"]["code"]) == ("event: error", "error", "500")
    half = event[:30]
    assert through(begins + half, typed=True) == begins + half


def test_a_list_of_models_has_contexts_and_no_paths() -> None:
    preset = "[one]\nmodel = /var/lib/x.gguf\nctx-size = 8192\nparallel = 2\n"
    models = [
        {"id": "one", "status": {"value": "unloaded", "args": ["/opt/x"], "preset": preset}},
        {"id": "two", "status": {"value": "loaded", "preset": preset}, "meta": {"n_ctx": 512}},
        {"id": "three", "meta": {"n_ctx": 256}},
    ]
    found = listed(json.dumps({"object": "list", "data": models}).encode(), {"one": 2})
    assert [one["meta"]["n_ctx"] for one in found["data"]] == [4096, 512, 256]
    assert found["data"][0]["status"] == {"value": "unloaded"}
    assert found["object"] == "list"
