# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recognises conversations on a server, and records what its llama-server holds of them, for the fleet's balancers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from .conversations import PATHS, chain_of
from .holdings import Begun, Holdings, Index
from .question import Question
from .tokens import Timings

LOADED = "loaded"


class Recall:
    """What each model holds.

    :param key: the fleet's, of at most 64 bytes; empty: there is nobody to be told, and nothing is noted.
    """

    def __init__(self, models: Collection[str], key: bytes) -> None:
        self._key = key
        self._models = {name: Holdings(Index()) for name in models} if key else {}
        self.on_change: list[Callable[[], None]] = []

    def begin(self, question: Question | None) -> Begun | None:
        """Notes that a request is sent to llama-server. Returns what ``answered`` takes; None: it is no conversation."""
        if question is None or question.path not in PATHS or question.model not in self._models:
            return None
        chain = chain_of(question.content, question.model, self._key)
        if not chain.marks:
            return None
        begun = self._models[question.model].begin(chain, time.time())
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

    def said(self) -> dict[str, Any]:
        """Returns the report for balancers, by model."""
        return {name: holdings.said() for name, holdings in self._models.items()}
