# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The numbers of tokens and the times that an answer reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timings:
    """The timings of a prompt and its answer.

    :param cached: tokens of it that were held.
    :param computed: the others.
    :param prompt_ms: how long these took; 0: unknown.
    :param answer: tokens of the answer.
    :param answer_ms: how long these took; 0: unknown.
    """

    cached: int
    computed: int
    prompt_ms: float = 0.0
    answer: int = 0
    answer_ms: float = 0.0


def warmth(held: int, prompt: int) -> str:
    """Returns whether so many tokens are most of a prompt, in a word."""
    return "warm" if 2 * held >= prompt > 0 else "cold"


TAIL_BYTES = 1 << 15  # enough for a stream's last event, which contains the whole answer in some APIs
MOST_BYTES = 1 << 20  # limit for answers whose token counts are read


class Tail:
    """What is kept of an answer that passes, to be read for what it took: its first events and its last ones.

    :param whole: it is no stream: all of it is needed, as long as it is not too long.
    """

    def __init__(self, *, whole: bool) -> None:
        self._limit = MOST_BYTES if whole else TAIL_BYTES
        self._first, self.last = b"", b""

    def add(self, piece: bytes) -> None:
        """Takes the next piece."""
        self._first = self._first or piece[:TAIL_BYTES]
        self.last = (self.last + piece)[-self._limit :]

    @property
    def content(self) -> bytes:
        """Returns both, the last events last."""
        return self.last if self.last.startswith(self._first) else self._first + b"\n" + self.last


def tokens_in(content: bytes) -> dict[str, int]:
    """Returns what llama-server counted, by the names that OpenAI's API has for it; nothing where it says nothing.

    :param content: a whole answer, or the last events of a stream.
    """
    for line in reversed(content.splitlines()):
        try:
            said = json.loads(line.removeprefix(b"data:"))
            if usage := said.get("usage"):
                prompt, answer = usage["prompt_tokens"], usage.get("completion_tokens", 0)
            else:
                times = said["timings"]
                prompt, answer = times["prompt_n"] + times.get("cache_n", 0), times["predicted_n"]
            prompt, answer = int(prompt), int(answer)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return {}


def timings_in(content: bytes) -> Timings | None:
    """Returns what an answer says of its prompt; None where it says nothing.

    :param content: a whole answer, or events of a stream: the first, or the last ones.
    """
    for line in reversed(content.splitlines()):
        try:
            said = json.loads(line.removeprefix(b"data:"))
            if times := said.get("timings"):
                return Timings(
                    int(times["cache_n"]),
                    int(times["prompt_n"]),
                    float(times["prompt_ms"]),
                    int(times["predicted_n"]),
                    float(times["predicted_ms"]),
                )
            return _of_usage(next(one for one in (said, said.get("response"), said.get("message")) if one and one.get("usage")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StopIteration):
            continue
    return None


def _of_usage(said: Mapping[str, Any]) -> Timings:
    """The same of OpenAI's two interfaces, and of Anthropic's, which counts what was held apart."""
    usage = said["usage"]
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    if details is None:
        return Timings(int(usage["cache_read_input_tokens"]), int(usage["input_tokens"]), answer=int(usage["output_tokens"]))
    whole, cached = int(usage["prompt_tokens" if "prompt_tokens" in usage else "input_tokens"]), int(details["cached_tokens"])
    answer = usage.get("completion_tokens") or usage.get("output_tokens") or 0
    return Timings(cached, max(0, whole - cached), answer=int(answer))
