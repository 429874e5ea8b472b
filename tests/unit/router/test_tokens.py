# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tokens of answers."""

from __future__ import annotations

import pytest
from copilot_router.tokens import TAIL_BYTES, Tail, Timings, timings_in, tokens_in

TIMES = b'data: {"choices": [], "timings": {"prompt_n": 3, "cache_n": 20, "predicted_n": 8}}'


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        pytest.param(b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}', (5, 2), id="an answer"),
        pytest.param(b'{"usage": {"prompt_tokens": 5, "total_tokens": 5}}', (5, 0), id="embeddings"),
        pytest.param(TIMES + b"\n\ndata: [DONE]\n\n", (23, 8), id="a stream that says its times"),
        pytest.param(
            b'data: {"usage": {"prompt_tokens": 1, "completion_tokens": 9}}\n\n' + TIMES + b"\n\n", (23, 8), id="the last one"
        ),
        pytest.param(b'alf": 1}\n\n' + TIMES + b'\n\ndata: {"usage": null}\n\n: waiting\n\n', (23, 8), id="cut at its start"),
        pytest.param(b'{"usage": {"prompt_tokens": "many"}}', None, id="no number"),
        pytest.param(b'{"usage": 7}', None, id="no counts"),
        pytest.param(b"[1]", None, id="a list"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_what_an_answer_took(content: bytes, counts: tuple[int, int] | None) -> None:
    found = {} if counts is None else dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=True))
    assert tokens_in(content) == (found and {**found, "total_tokens": sum(found.values())})


STARTED = b'data: {"message": {"usage": {"input_tokens": 4, "cache_read_input_tokens": 20, "output_tokens": 0}}}'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            b'data: {"timings": {"cache_n": 9, "prompt_n": 3, "prompt_ms": 2.5, "predicted_n": 8, "predicted_ms": 7}}'
            b"\n\ndata: [DONE]",
            Timings(9, 3, 2.5, 8, 7.0),
            id="llama-server",
        ),
        pytest.param(
            b'{"usage": {"prompt_tokens": 12, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 9}}}',
            Timings(9, 3, answer=8),
            id="another engine",
        ),
        pytest.param(
            b'{"response": {"usage": {"input_tokens": 12, "output_tokens": 8, "input_tokens_details": {"cached_tokens": 9}}}}',
            Timings(9, 3, answer=8),
            id="responses",
        ),
        pytest.param(STARTED + b'\ndata: {"usage": {"output_tokens": 5}}', Timings(20, 4), id="messages, as a stream"),
        pytest.param(b'{"usage": {"prompt_tokens": 12}}', None, id="no details"),
        pytest.param(b'{"timings": {"cache_n": 1}}', None, id="half"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_what_became_of_the_prompt(content: bytes, expected: Timings | None) -> None:
    assert timings_in(content) == expected


def test_of_a_stream_the_first_events_and_the_last_are_kept() -> None:
    tail = Tail(whole=False)
    for piece in (STARTED + b"\n", *[b"x" * 1000] * 100, b'\ndata: {"usage": {"output_tokens": 5}}'):
        tail.add(piece)
    assert timings_in(tail.content) == Timings(20, 4)
    assert len(tail.content) < 2 * TAIL_BYTES
    short = Tail(whole=False)
    short.add(STARTED)
    assert short.content == STARTED
