# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Errors as answers and as events of streams."""

from __future__ import annotations

import pytest
from copilot_router.errors import error_event, error_in, error_object, error_of_event, is_error_event, status_of


def test_an_event_holds_what_an_answer_would() -> None:
    error = error_object(503, "gone", "engine_down")
    assert error == {"message": "gone", "type": "server_error", "param": None, "code": "engine_down"}
    event = error_event(error)
    assert event.endswith(b"\n\n")
    for stream in (event, b": waiting\n\n" + event):
        assert is_error_event(stream)
        assert error_of_event(stream) == error


@pytest.mark.parametrize(
    "piece",
    [b": waiting\n\n", b'data: {"choices": []}\n\n', b'data: {"choices": [{"delta": {"content": "data: {\\"error\\""}}]}\n\n'],
    ids=["a comment", "an answer", "an answer that quotes one"],
)
def test_what_is_no_error(piece: bytes) -> None:
    assert not is_error_event(piece)


def test_an_error_that_is_cut_is_an_empty_one() -> None:
    assert error_of_event(b'data: {"error": {"mess') == {}
    assert error_of_event(b'data: {"error": "words"}') == {}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param({"code": 400, "type": "exceed_context_size_error"}, 400, id="llama-server's"),
        pytest.param(error_object(404, "no", "model_not_found"), 400, id="ours, of the request"),
        pytest.param(error_object(503, "no", "engine_down"), 503, id="ours, of the server"),
        pytest.param(error_object(500, "no"), 500, id="a number in a text"),
        pytest.param({"code": 12, "type": "x"}, 503, id="no status"),
        pytest.param({}, 503, id="nothing"),
    ],
)
def test_the_status_that_an_error_would_have_had(error: dict[str, object], status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        pytest.param(
            400,
            b'{"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400, "n_ctx": 4096}}',
            {"message": "too long", "type": "exceed_context_size_error", "param": None, "code": 400, "n_ctx": 4096},
            id="with fields of its own",
        ),
        pytest.param(500, b'{"error": "words"}', {**error_object(500, ""), "message": "words"}, id="only words"),
        pytest.param(415, b"", error_object(415, "The answer was 415, without a reason."), id="nothing"),
        pytest.param(502, b"<html>", error_object(502, "The answer was 502, without a reason."), id="a page"),
        pytest.param(500, b"[1]", error_object(500, "The answer was 500, without a reason."), id="a list"),
    ],
)
def test_the_error_that_an_answer_holds(status: int, content: bytes, error: dict[str, object]) -> None:
    assert error_in(status, content) == error
