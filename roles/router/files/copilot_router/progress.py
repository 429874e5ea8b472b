# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far llama-server is with a prompt. It says so in the stream of the answer, in events that no client knows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

from .question import Question

ASK = "return_progress"
PROGRESS = b'"prompt_progress":{'


def asks_for_progress(question: Question) -> bool:
    """Returns whether to ask llama-server for it: for a stream of one answer to one prompt, unless the client does."""
    content = question.content
    one = content.get("n") in (None, 1) and ASK not in content
    chat = question.path == "/chat/completions" and isinstance(content.get("messages"), list)
    return question.stream and one and (chat or (question.path == "/completions" and isinstance(content.get("prompt"), str)))


async def answer_itself(pieces: AsyncIterator[bytes], tell: Callable[[str], None]) -> AsyncIterator[bytes]:
    """Yields a stream from its first event on that is of the answer.

    :param tell: is called with how far the prompt is.
    """
    seen, begun = b"", False
    async for piece in pieces:
        if begun:
            yield piece
            continue
        seen += piece
        while not begun and (end := seen.find(b"\n\n") + 2) > 1:
            said = seen[:end]
            if PROGRESS in said:
                tell(_in_words(said))
            elif not said.startswith(b":"):
                begun = True
                break
            seen = seen[end:]
        if begun:
            yield seen
    if seen and not begun:
        yield seen


def _in_words(event: bytes) -> str:
    try:
        progress = json.loads(event.removeprefix(b"data:"))["prompt_progress"]
        return f"prompt {int(progress['processed'])}/{int(progress['total'])} tokens"
    except (ValueError, KeyError, TypeError):
        return "prompt"
