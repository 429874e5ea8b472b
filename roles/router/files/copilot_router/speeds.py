# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The speed of a llama-server with prompts and answers, learnt from the ``timings`` of its answers. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

USUAL_PROMPT, USUAL_ANSWER = 60.0, 8.0  # tokens per second of a 24B model on 16 CPUs, until they are learnt
USUAL_LENGTH = 300.0  # tokens of an answer
USUAL_TOKENS = 0.28  # for each character of a body
NEW = 0.2  # weight of one answer
LEAST_PROMPT = 1024  # tokens: shorter prompts are not representative
FASTER, SLOWER = 0.5, 0.05  # weights for speeds: parallel requests make one look slow, but never too fast
DEPTH = 4096  # tokens: prompts get slower with depth, which is learnt in steps of this size
MOST_STEPS = 256


@dataclass
class Speeds:
    """What is known of one model on one server."""

    tokens_per_character: float = USUAL_TOKENS
    length: float = USUAL_LENGTH
    answer: float = USUAL_ANSWER
    _prompt: dict[int, float] = field(default_factory=dict)  # step of depth -> tokens per second

    def learn(
        self, characters: int, cache_n: int, prompt_n: int, prompt_ms: float, predicted_n: int, predicted_ms: float
    ) -> None:
        """Takes what an answer says.

        :param characters: of the prompt; 0: unknown.
        """
        if characters > 0:
            self.tokens_per_character = _mean(self.tokens_per_character, (cache_n + prompt_n) / characters)
        if prompt_n >= LEAST_PROMPT and prompt_ms > 0:
            step, speed = (cache_n + prompt_n // 2) // DEPTH, prompt_n * 1000 / prompt_ms
            before = self._prompt.get(step, speed)
            self._prompt[step] = _mean(before, speed, FASTER if speed > before else SLOWER)
        if predicted_n > 1 and predicted_ms > 0:
            speed = predicted_n * 1000 / predicted_ms
            self.answer = _mean(self.answer, speed, FASTER if speed > self.answer else SLOWER)
            self.length = _mean(self.length, predicted_n)

    @property
    def known(self) -> bool:
        """Whether anything is known of prompts."""
        return bool(self._prompt)

    def prompt(self, depth: float) -> float:
        """Returns tokens in a second of a prompt, at a depth in tokens: of the nearest that is known."""
        if not self._prompt:
            return USUAL_PROMPT
        known = self._prompt.get(int(depth) // DEPTH)
        if known is not None:
            return known
        return self._prompt[min(self._prompt, key=lambda step: abs((step + 0.5) * DEPTH - depth))]

    def prompt_seconds(self, start: float, end: float) -> float:
        """Returns how long a prompt takes from one depth to another, both in tokens."""
        return max(0.0, end - start) / self.prompt((start + end) / 2)

    @property
    def answer_seconds(self) -> float:
        """How long an answer takes, as far as that can be known."""
        return self.length / self.answer

    def said(self) -> dict[str, Any]:
        """Returns all of it in JSON's words."""
        steps = [[step, round(speed, 3)] for step, speed in sorted(self._prompt.items())]
        return {
            "tokens_per_character": round(self.tokens_per_character, 6),
            "length": round(self.length, 1),
            "answer": round(self.answer, 3),
            "prompt": steps[:MOST_STEPS],
        }

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Speeds:
        """Reads what ``said`` wrote. Raises KeyError, TypeError or ValueError when it is something else."""
        rate, length, answer = (float(said[name]) for name in ("tokens_per_character", "length", "answer"))
        prompt = {int(step): float(speed) for step, speed in said["prompt"][:MOST_STEPS]}
        if not all(0 < number < math.inf for number in (rate, length, answer, *prompt.values())):
            raise ValueError("speeds are numbers above 0")
        return cls(rate, length, answer, prompt)


def _mean(before: float, now: float, new: float = NEW) -> float:
    return before + new * (now - before)
