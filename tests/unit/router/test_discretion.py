# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an answer tells of others is left out for who may not read it, and nothing else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from copilot_router.discretion import Discretion, discreet, may_read

TIMES = {
    "cache_n": 900,
    "prompt_n": 20,
    "prompt_ms": 5.0,
    "predicted_n": 8,
    "predicted_ms": 9.0,
    "draft_n": 6,
    "draft_n_accepted": 5,
}
SHOWN = {"prompt_ms": 5.0, "predicted_n": 8, "predicted_ms": 9.0}
ANSWERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("llama-server's own", {"content": "é", "timings": TIMES}, {"content": "é", "timings": SHOWN}),
    (
        "OpenAI's",
        {"usage": {"prompt_tokens": 920, "prompt_tokens_details": {"cached_tokens": 900}}},
        {"usage": {"prompt_tokens": 920, "prompt_tokens_details": {"cached_tokens": 0}}},
    ),
    (
        "OpenAI's newer one",
        {"response": {"usage": {"input_tokens": 920, "input_tokens_details": {"cached_tokens": 900}}}},
        {"response": {"usage": {"input_tokens": 920, "input_tokens_details": {"cached_tokens": 0}}}},
    ),
    (
        "Anthropic's",
        {"message": {"usage": {"input_tokens": 20, "cache_read_input_tokens": 900}}},
        {"message": {"usage": {"input_tokens": 920, "cache_read_input_tokens": 0}}},
    ),
    ("a prompt's progress", {"prompt_progress": {"total": 920, "cache": 900}}, {"prompt_progress": {"total": 920, "cache": 0}}),
    ("what is not of this form", {"timings": None, "usage": None}, {"timings": None, "usage": None}),
]


@pytest.mark.parametrize(("said", "shown"), [pytest.param(said, shown, id=name) for name, said, shown in ANSWERS])
def test_what_tells_of_others_is_left_out(said: Any, shown: Any) -> None:
    content = json.dumps(said).encode()
    assert json.loads(discreet(content)) == shown
    assert json.loads(discreet(b"[" + content + b"]")) == [shown]
    stream = Discretion("developer")
    event = b"event: some\ndata: " + content + b"\n\ndata: [DONE]\n\n"
    passed = b"".join(stream.piece(event[place : place + 7]) for place in range(0, len(event), 7)) + stream.rest()
    named, data, *others = passed.split(b"\n")
    assert (named, json.loads(data.removeprefix(b"data: ")), others) == (b"event: some", shown, [b"", b"data: [DONE]", b"", b""])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"content":  "\\"timings\\" and \\"cached_tokens\\""}', id="words of an answer"),
        pytest.param(b'{"timings": {', id="no JSON"),
        pytest.param(b": prompt 5/9 tokens\n\n", id="a comment"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_all_else_passes_as_it_is(content: bytes) -> None:
    stream = Discretion("developer")
    assert discreet(content) == stream.piece(content) + stream.rest() == content


@pytest.mark.parametrize(("role", "expected"), [("admin", True), ("balancer", True), ("developer", False), ("", False)])
def test_who_may_read_it(role: str, expected: bool) -> None:
    assert may_read(role) is expected
    piece = b'data: {"timings": {"cache_n": 5}}\n\n'
    assert (Discretion(role).piece(piece) == piece) is expected


def test_a_stream_that_is_cut_in_an_event_passes_whole() -> None:
    stream = Discretion("developer")
    assert stream.piece(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert stream.rest() == b"data: 2"


def test_what_is_no_stream_passes_piece_by_piece() -> None:
    assert Discretion("developer", stream=False).piece(b'{"prompt": "a long') == b'{"prompt": "a long'


def test_a_long_event_is_searched_once() -> None:
    stream = Discretion("developer")
    began = time.process_time()
    passed = [stream.piece(b"x" * 4096) for _piece in range(2000)]
    assert not any(passed)
    assert [len(stream.piece(b"\n")), len(stream.piece(b"\n"))] == [0, 2000 * 4096 + 2]
    assert time.process_time() - began < 2
