# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tokens of answers."""

from __future__ import annotations

import pytest
from copilot_router.tokens import tokens_in

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
