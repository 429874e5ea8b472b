# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server's router reads of a request."""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest
from copilot_router.question import BadRequest, asked_at, read

CHAT = "/chat/completions"


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        pytest.param("POST", "/v1/chat/completions", "/chat/completions", id="chat"),
        pytest.param("POST", "/chat/completions", "/chat/completions", id="chat without its prefix"),
        pytest.param("POST", "/infill", "/infill", id="infill"),
        pytest.param("POST", "/v1/messages", "/messages", id="another company's API"),
        pytest.param("POST", "/v1/rerank", "/rerank", id="rerank"),
        pytest.param("OPTIONS", "/v1/chat/completions", None, id="question of a browser"),
        pytest.param("GET", "/v1/models", None, id="list of models"),
        pytest.param("POST", "/tokenize", None, id="tokens"),
        pytest.param("POST", "/v1/messages/count_tokens", None, id="number of tokens"),
        pytest.param("POST", "/apply-template", None, id="template"),
    ],
)
def test_what_needs_a_slot(method: str, path: str, asked: str | None) -> None:
    assert asked_at(method, path) == asked


def model_and_stream(body: bytes, models: Collection[str], path: str = CHAT) -> tuple[str, bool]:
    question = read(path, body, models)
    return question.model, question.stream


def test_one_model_alone_answers_to_every_name() -> None:
    assert model_and_stream(b'{"model": "gpt-4o", "stream": true}', ["tiny"]) == ("tiny", True)
    assert model_and_stream(b"{}", ["tiny"]) == ("tiny", False)


def test_of_several_the_one_that_is_named() -> None:
    assert model_and_stream(b'{"model": "two"}', ["one", "two"]) == ("two", False)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"{", 400, "invalid_json", id="cut"),
        pytest.param(b"", 400, "invalid_json", id="empty"),
        pytest.param(b"\xff\xfe", 400, "invalid_json", id="no text"),
        pytest.param(b"[" * 100000, 400, "invalid_json", id="deep"),
        pytest.param('{"model": "one"}'.encode("utf-16"), 400, "invalid_json", id="another encoding"),
        pytest.param(b'{"model": "one", "n": NaN}', 400, "invalid_json", id="no number"),
        pytest.param(b"[]", 400, "invalid_json", id="list"),
        pytest.param(b"null", 400, "invalid_json", id="nothing"),
        pytest.param(b"3", 400, "invalid_json", id="number"),
        pytest.param(b'{"model": 3}', 400, "model_missing", id="number for a model"),
        pytest.param(b"{}", 400, "model_missing", id="no model"),
        pytest.param(b'{"model": "huge"}', 404, "model_not_found", id="unknown model"),
    ],
)
def test_what_is_no_question(body: bytes, status: int, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(CHAT, body, ["one", "two"])
    assert (refused.value.status, refused.value.code) == (status, code)


def test_who_names_an_unknown_model_reads_which_there_are() -> None:
    with pytest.raises(BadRequest, match="'huge' does not exist. There is: one, two."):
        read(CHAT, b'{"model": "huge"}', ["two", "one"])


def test_a_suffix_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(BadRequest, match="/infill") as refused:
        read("/completions", b'{"prompt": "a", "suffix": "b"}', ["tiny"])
    assert (refused.value.status, refused.value.code) == (400, "unsupported_parameter")
    assert model_and_stream(b'{"prompt": "a", "suffix": null}', ["tiny"], "/completions") == ("tiny", False)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        pytest.param(None, "invalid_history", id="none"),
        pytest.param([{"content": [{"type": "text"}, {"type": "document"}]}], "input_not_supported", id="document"),
        pytest.param(
            [{"content": [{"type": "tool_result", "content": [{"type": "document"}]}]}],
            "input_not_supported",
            id="document as a result",
        ),
        pytest.param([7, {}, {"content": "a"}, {"content": [7, {"type": "text"}, {"type": "x"}]}], "", id="others"),
    ],
)
def test_what_would_be_dropped_of_messages_is_refused(messages: object, code: str) -> None:
    body = json.dumps({"messages": messages}).encode()
    if not code:
        assert read("/messages", body, ["tiny"])
        return
    with pytest.raises(BadRequest) as refused:
        read("/messages", body, ["tiny"])
    assert (refused.value.status, refused.value.code) == (400, code)
