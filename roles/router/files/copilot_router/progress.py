# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The progress of llama-server with a prompt. On request, llama-server reports it in the stream of the answer, in events that
clients do not know. Its Anthropic API has no such option, so its slots are polled instead.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .question import Question
from .slots import EngineFailed

if TYPE_CHECKING:
    from .engine import Watch

ASK = "return_progress"
PROGRESS = b'"prompt_progress":{'
CREATED = b"event: response.created\n"
UNASKED = "/messages"  # accepts only Anthropic's parameters


def asks_for_progress(question: Question) -> bool:
    """Returns whether to ask llama-server for it: for a stream of one answer to one prompt, unless the client does."""
    content = question.content
    one = content.get("n") in (None, 1) and ASK not in content
    given = {
        "/chat/completions": isinstance(content.get("messages"), list),
        "/completions": isinstance(content.get("prompt"), str),
        "/responses": isinstance(content.get("input"), (str, list)),
    }
    return question.stream and one and given.get(question.path, False)


async def answer_itself(pieces: AsyncIterator[bytes], tell: Callable[[str], None] | None) -> AsyncIterator[bytes]:
    """Yields a stream from its first event on that is of the answer.

    That a response was created is held back until then: it comes with the first progress, and an answer that has not begun can
    still be asked for again.

    :param tell: is called with how far the prompt is; None: it was not asked for.
    """
    seen, begun = b"", False
    held: list[bytes] = []
    async for piece in pieces:
        if begun:
            yield piece
            continue
        seen += piece
        while not begun and (end := seen.find(b"\n\n") + 2) > 1:
            said = seen[:end]
            if tell is not None and PROGRESS in said:
                tell(_in_words(said))
                held += [_without_progress(said)] if len(held) == 1 else []
            elif tell is not None and said.startswith(CREATED):
                held.append(said)
            elif not said.startswith(b":"):
                begun = True
                break
            seen = seen[end:]
        if begun:
            yield b"".join([*held, seen])
    if seen and not begun:
        yield seen


async def look_at_prompt(watch: Watch, question: Question, body: bytes, tell: Callable[[str], None], *, every: float) -> None:
    """Polls the progress of a prompt, until cancelled. While several prompts cannot be told apart, it reports nothing.

    :param body: as it was sent.
    :param tell: is called with how far the prompt is.
    :param every: seconds between two looks.
    """
    with suppress(EngineFailed):
        await asyncio.sleep(every)
        total = await watch.count(f"/v1{question.path}/count_tokens", body)
        while total:
            under_way = await watch.prompts(question.model)
            if len(under_way) == 1:
                tell(_words(under_way[0], total))
            await asyncio.sleep(every)


def _words(processed: int, total: int) -> str:
    return f"prompt {processed}/{total} tokens"


def _data(event: bytes) -> bytes:
    return event.partition(b"data:")[2]


def _without_progress(event: bytes) -> bytes:
    content = json.loads(_data(event))
    del content["prompt_progress"]
    return event.partition(b"data:")[0] + b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


def _in_words(event: bytes) -> str:
    try:
        progress = json.loads(_data(event))["prompt_progress"]
        return _words(int(progress["processed"]), int(progress["total"]))
    except (ValueError, KeyError, TypeError):
        return "prompt"
