# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a prompt is, out of the stream of an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from copilot_router.answers import prompts_in
from copilot_router.progress import answer_itself, asks_for_progress, look_at_prompt
from copilot_router.question import Question
from copilot_router.slots import EngineFailed

BEGINS = b'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def event(processed: int, total: int = 20) -> bytes:
    progress = {"choices": [{"delta": {}}], "prompt_progress": {"total": total, "cache": 0, "processed": processed}}
    return b"data: " + json.dumps(progress, separators=(",", ":")).encode() + b"\n\n"


def taken(*pieces: bytes, asked: bool = True) -> tuple[bytes, list[str]]:
    said: list[str] = []

    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def play() -> bytes:
        return b"".join([piece async for piece in answer_itself(given(), said.append if asked else None)])

    return asyncio.run(play()), said


STREAM = event(0) + b":\n\n" + event(8) + event(20) + BEGINS + TOKEN


@pytest.mark.parametrize("size", [1, 7, 100, len(STREAM)])
def test_progress_is_told_and_not_passed_on_however_it_comes(size: int) -> None:
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert taken(*pieces) == (BEGINS + TOKEN, ["prompt 0/20 tokens", "prompt 8/20 tokens", "prompt 20/20 tokens"])


def named(kind: str, **more: Any) -> bytes:
    content = {"type": kind, "response": {"id": "resp_1"}, **more}
    return f"event: {kind}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()


def responds(processed: int) -> bytes:
    return named("response.in_progress", prompt_progress={"total": 20, "processed": processed})


CREATED, UNDER_WAY = named("response.created"), named("response.in_progress")
SAYS = named("response.output_text.delta")
RESPONSE = CREATED + responds(0) + responds(8) + b":\n\n" + responds(20) + SAYS


@pytest.mark.parametrize("size", [1, 7, 100, len(RESPONSE)])
def test_a_response_begins_with_its_answer(size: int) -> None:
    pieces = [RESPONSE[at : at + size] for at in range(0, len(RESPONSE), size)]
    told = ["prompt 0/20 tokens", "prompt 8/20 tokens", "prompt 20/20 tokens"]
    assert taken(*pieces) == (CREATED + UNDER_WAY + SAYS, told)
    assert taken(CREATED, responds(0), responds(8)) == (b"", told[:2]), "it can be asked for again"


def test_who_asks_for_progress_gets_it_and_no_empty_comment_before_it() -> None:
    assert taken(b":\n\n", STREAM, asked=False) == (STREAM, [])
    assert taken(RESPONSE, asked=False) == (RESPONSE, [])


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
        pytest.param("/responses", {"input": "a"}, True, id="response"),
        pytest.param("/responses", {"input": []}, True, id="response to a list"),
        pytest.param("/responses", {}, False, id="response to nothing"),
        pytest.param("/messages", {"messages": []}, False, id="Anthropic's"),
    ],
)
def test_where_it_is_asked_for(path: str, content: dict[str, Any], asks: bool) -> None:
    assert asks_for_progress(Question(path, "tiny", True, content)) is asks
    assert not asks_for_progress(Question(path, "tiny", False, content))


class Engine:
    """An engine that is looked at: what it says each time, in turn."""

    def __init__(self, *said: list[int], total: int = 20) -> None:
        self.said, self.total = list(said), total

    async def count(self, path: str, body: bytes) -> int:
        assert (path, body) == ("/v1/messages/count_tokens", b"{}")
        return self.total

    async def prompts(self, name: str) -> list[int]:
        if not self.said:
            raise EngineFailed("it is gone", reached=False)
        return self.said.pop(0)


def looked_at(engine: Any) -> list[str]:
    told: list[str] = []
    asyncio.run(look_at_prompt(engine, Question("/messages", "tiny", True), b"{}", told.append, every=0))
    return told


def test_a_prompt_is_looked_at_where_it_cannot_be_asked_for() -> None:
    assert looked_at(Engine([0], [8], [], [19])) == ["prompt 0/20 tokens", "prompt 8/20 tokens", "prompt 19/20 tokens"]
    assert looked_at(Engine([8, 3], [16])) == ["prompt 16/20 tokens"], "of two it is not known which is which"
    assert looked_at(Engine([8], total=0)) == [], "it was not counted"


def test_how_far_prompts_are_out_of_the_slots() -> None:
    def slot(working: bool, tokens: int, said: int) -> dict[str, Any]:
        return {"is_processing": working, "n_prompt_tokens": tokens, "next_token": [{"n_decoded": said}]}

    slots = [slot(True, 5, 0), slot(True, 7, 1), slot(False, 9, 0), {"is_processing": False}]
    assert prompts_in(json.dumps(slots).encode()) == [5]
    assert [prompts_in(said) for said in (b"", b'{"error":{}}', b'[{"is_processing":true}]')] == [[], [], []]
