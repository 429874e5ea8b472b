# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a prompt is, out of the stream of an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from copilot_router.progress import answer_itself, asks_for_progress
from copilot_router.question import Question

BEGINS = b'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def event(processed: int, total: int = 20) -> bytes:
    progress = {"choices": [{"delta": {}}], "prompt_progress": {"total": total, "cache": 0, "processed": processed}}
    return b"data: " + json.dumps(progress, separators=(",", ":")).encode() + b"\n\n"


def taken(*pieces: bytes) -> tuple[bytes, list[str]]:
    said: list[str] = []

    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def play() -> bytes:
        return b"".join([piece async for piece in answer_itself(given(), said.append)])

    return asyncio.run(play()), said


STREAM = event(0) + b":\n\n" + event(8) + event(20) + BEGINS + TOKEN


@pytest.mark.parametrize("size", [1, 7, 100, len(STREAM)])
def test_progress_is_told_and_not_passed_on_however_it_comes(size: int) -> None:
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert taken(*pieces) == (BEGINS + TOKEN, ["prompt 0/20 tokens", "prompt 8/20 tokens", "prompt 20/20 tokens"])


@pytest.mark.parametrize("stream", [b"", BEGINS, BEGINS + event(3), b'data: {"half', b'data: {"error":{}}\n\n'])
def test_what_comes_without_it_is_passed_on_as_it_is(stream: bytes) -> None:
    assert taken(stream) == (stream, [])


def test_progress_of_another_form_ends_nothing() -> None:
    assert taken(b'data: {"prompt_progress":{}}\n\n', TOKEN) == (TOKEN, ["prompt"])


@pytest.mark.parametrize(
    ("path", "content", "asks"),
    [
        pytest.param("/chat/completions", {"messages": []}, True, id="chat"),
        pytest.param("/completions", {"prompt": "a"}, True, id="completion"),
        pytest.param("/completions", {"prompt": ["a", "b"]}, False, id="two prompts"),
        pytest.param("/chat/completions", {"messages": [], "n": 2}, False, id="two answers"),
        pytest.param("/chat/completions", {"messages": [], "return_progress": True}, False, id="who asks"),
        pytest.param("/chat/completions", {}, False, id="nothing"),
        pytest.param("/messages", {"messages": []}, False, id="Anthropic's"),
    ],
)
def test_where_it_is_asked_for(path: str, content: dict[str, Any], asks: bool) -> None:
    assert asks_for_progress(Question(path, "tiny", True, content)) is asks
    assert not asks_for_progress(Question(path, "tiny", False, content))
