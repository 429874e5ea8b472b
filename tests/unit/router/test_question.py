# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server's router reads of a request."""

from __future__ import annotations

import pytest
from copilot_router.question import BadRequest, Question, needs_slot, read


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        pytest.param("POST", "/v1/chat/completions", True, id="chat"),
        pytest.param("POST", "/chat/completions", True, id="chat without its prefix"),
        pytest.param("POST", "/infill", True, id="infill"),
        pytest.param("POST", "/v1/messages", True, id="another company's API"),
        pytest.param("POST", "/v1/rerank", True, id="rerank"),
        pytest.param("OPTIONS", "/v1/chat/completions", False, id="question of a browser"),
        pytest.param("GET", "/v1/models", False, id="list of models"),
        pytest.param("POST", "/tokenize", False, id="tokens"),
        pytest.param("POST", "/v1/messages/count_tokens", False, id="number of tokens"),
        pytest.param("POST", "/apply-template", False, id="template"),
    ],
)
def test_what_needs_a_slot(method: str, path: str, needs: bool) -> None:
    assert needs_slot(method, path) is needs


def test_one_model_alone_answers_to_every_name() -> None:
    assert read(b'{"model": "gpt-4o", "stream": true}', {"tiny": 2}) == Question("tiny", stream=True)
    assert read(b"{}", {"tiny": 2}) == Question("tiny", stream=False)


def test_of_several_the_one_that_is_named() -> None:
    assert read(b'{"model": "two"}', ["one", "two"]) == Question("two", stream=False)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"{", 400, "invalid_json", id="cut"),
        pytest.param(b"", 400, "invalid_json", id="empty"),
        pytest.param(b"\xff\xfe", 400, "invalid_json", id="no text"),
        pytest.param(b"[" * 100000, 400, "invalid_json", id="deep"),
        pytest.param(b"[]", 400, "invalid_json", id="list"),
        pytest.param(b'{"model": 3}', 400, "model_missing", id="number for a model"),
        pytest.param(b"{}", 400, "model_missing", id="no model"),
        pytest.param(b'{"model": "huge"}', 404, "model_not_found", id="unknown model"),
    ],
)
def test_what_is_no_question(body: bytes, status: int, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(body, ["one", "two"])
    assert (refused.value.status, refused.value.code) == (status, code)


def test_who_names_an_unknown_model_reads_which_there_are() -> None:
    with pytest.raises(BadRequest, match="'huge' does not exist. There is: one, two."):
        read(b'{"model": "huge"}', ["two", "one"])
