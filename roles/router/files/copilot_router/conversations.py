# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recognises requests by digests of their messages, each of which covers all messages before it.

Two requests that share a digest share everything before it, so the deepest known digest tells how much of a prompt was processed
before. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BLOCK = 2048  # characters: longer parts have digests inside, since an edit leaves the text before it unchanged
DIGEST = 12  # bytes
MOST_MARKS = 1024  # per request: 2 MiB of text; later ones add no information
# Fields that templates render first, in OpenAI's APIs (chat, responses) and Anthropic's; then those that grow with each turn.
FIRST = ("tools", "system", "instructions", "input_prefix")
GROWING = ("messages", "input", "prompt", "input_suffix")
PATHS = frozenset({"/chat/completions", "/completions", "/messages", "/responses"})  # paths of conversations
# Fields that programs add only to the newest messages, and that no template renders.
NOT_SHOWN = re.compile(r'(?:, )?"cache_control": \{[^{}]*\}')


@dataclass(frozen=True, slots=True)
class Chain:
    """A prompt as a chain of marks (digests), and the position at which each ends.

    :param marks: digests, each of everything up to there.
    :param ends: characters or tokens from the start to each mark; they grow.
    """

    marks: tuple[bytes, ...]
    ends: tuple[int, ...]

    @property
    def size(self) -> int:
        """Characters or tokens of the whole."""
        return self.ends[-1] if self.ends else 0


def chain_of(content: Mapping[str, Any], model: str = "", key: bytes = b"") -> Chain:
    """Returns the chain of a request's body, with sizes in characters of its JSON.

    Keys keep the order of the body, as templates render them.

    :param model: whose prompt it is: nothing of it helps another.
    :param key: at most 64 bytes, without which nobody can try what a mark stands for; empty: marks leave this process never.
    """
    marks, ends = [], []
    digest, end = hashlib.blake2b(f"{model}\0".encode(errors="surrogatepass"), digest_size=DIGEST, key=key), 0
    for part in _parts(content):
        for start in range(0, len(part), BLOCK):
            block = part[start : start + BLOCK]
            digest.update(block.encode(errors="surrogatepass"))
            end += len(block)
            marks.append(digest.digest())
            ends.append(end)
            if len(marks) == MOST_MARKS:
                return Chain(tuple(marks), (*ends[:-1], _size(content)))
    return Chain(tuple(marks), tuple(ends))


def marks_key(secret: str) -> bytes:
    """Derives the 32-byte key of marks from the fleet's secret."""
    return hashlib.sha256(secret.strip().encode()).digest()


def shared(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Returns the number of marks that two chains share at their start. It needs few comparisons."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[middle - 1] == other[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low


def _parts(content: Mapping[str, Any]) -> Iterator[str]:
    for key in FIRST:
        if content.get(key):
            yield _text(content[key])
    for key in GROWING:
        value = content.get(key)
        if isinstance(value, list):
            yield from map(_text, value)
        elif value:
            yield _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(text := _only_text(value.get("content")), str):
        value = {**value, "content": text}
    text = json.dumps(value, ensure_ascii=False)
    return NOT_SHOWN.sub("", text) if '"cache_control"' in text else text


def _only_text(content: Any) -> Any:
    """Returns the text of a content that is one block of it: the same message is sent in both forms, the newer ones as blocks."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict) and content[0].get("type") == "text":
        return content[0].get("text")
    return None


def _size(content: Mapping[str, Any]) -> int:
    return sum(map(len, _parts(content)))
