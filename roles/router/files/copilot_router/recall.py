# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recognises conversations on a server and records what its llama-server holds of them, for the queue and for balancers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .conversations import PATHS, Chain, chain_of
from .holdings import Begun, Holdings, Index
from .question import Question
from .tokens import Timings

LOADED = "loaded"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that may be held in part."""

    chain: Chain
    holdings: Holdings

    def seconds(self) -> float:
        """Returns how long it would take now, without what is held of it."""
        return self.holdings.seconds(self.chain)


class Recall:
    """What each model holds.

    :param key: the fleet's, of at most 64 bytes.
    """

    def __init__(self, models: Collection[str], key: bytes) -> None:
        self._key = key
        self._models = {name: Holdings(Index()) for name in models}
        self.on_change: list[Callable[[], None]] = []

    def recognise(self, question: Question | None) -> Prompt | None:
        """Returns what the other methods take; None: it is no conversation."""
        if question is None or question.path not in PATHS or question.model not in self._models:
            return None
        chain = chain_of(question.content, question.model, self._key)
        return Prompt(chain, self._models[question.model]) if chain.marks else None

    def begin(self, prompt: Prompt | None) -> Begun | None:
        """Notes that a request is sent to llama-server. Returns what ``answered`` takes."""
        if prompt is None:
            return None
        begun = prompt.holdings.begin(prompt.chain, time.time())
        for changed in self.on_change:
            changed()
        return begun

    def answered(self, model: str | None, begun: Begun | None, said: Timings | None) -> None:
        """Notes what the answer says of its prompt, if anything."""
        if begun is not None and said is not None:
            self._models[str(model)].answered(begun, said, time.time())

    def seen(self, states: dict[str, str]) -> None:
        """Notes the states of the models: one that is not loaded holds nothing."""
        for name, holdings in self._models.items():
            if states.get(name) != LOADED:
                holdings.clear()

    def restored(self, model: str, tokens: Iterable[int]) -> int:
        """Notes that the engine restarted, and got back conversations of so many tokens. Returns how many of them are known."""
        found = self._models[model].restored(tokens)
        for changed in self.on_change:
            changed()
        return found

    def said(self) -> dict[str, Any]:
        """Returns the report for balancers, by model."""
        return {name: holdings.said() for name, holdings in self._models.items()}
