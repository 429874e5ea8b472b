# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps pinned models loaded while llama-server in router mode unloads others to make room.

llama-server unloads the least recently used model among those without a request in flight, and has no exceptions. So each pinned
model always has a request in flight: one that needs no computing (it asks for the prompt of a long message), and whose answer
exceeds the system's buffers and is never read. The same request reloads a model that is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import AsyncExitStack
from typing import Any

from .engine import Connection, pieces, states_of
from .slots import EngineFailed

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0  # between two polls of the models
# More than the socket buffers can hold: net.core.wmem_default, by default 208 KiB.
ANSWER_BYTES = 6 << 20


class Keeper:
    """One request in flight for each pinned model.

    :param renew: seconds after which a request gives way to a new one.
    """

    def __init__(self, connection: Connection, models: tuple[str, ...], renew: float) -> None:
        self._connection, self._models, self._renew = connection, models, renew
        # The unread answers, and their start times.
        self._held: dict[str, tuple[AsyncExitStack, float]] = {}

    async def run(self) -> None:
        """Keeps the models loaded until cancelled."""
        try:
            while self._models:
                try:
                    await self._look()
                except (EngineFailed, TimeoutError, ValueError, KeyError, TypeError) as error:
                    logger.warning("pinned models cannot be kept loaded at the moment: %s", error)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for answer, _since in self._held.values():
                await answer.aclose()

    async def _look(self) -> None:
        """Begins a request for each pinned model that has none, whose request is old, or that is not loaded."""
        _status, content = await self._connection.get("/models")
        states = states_of(json.loads(content))
        for model in self._models:
            since = self._held[model][1] if model in self._held else -self._renew
            if states.get(model) != "loaded" or time.monotonic() - since >= self._renew:
                await self._hold(model)

    async def _hold(self, model: str) -> None:
        message: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "x" * ANSWER_BYTES}]}
        async with AsyncExitStack() as stack:
            head = {"content-type": "application/json"}
            answer = await stack.enter_async_context(
                self._connection.ask("POST", b"/apply-template", head, json.dumps(message).encode())
            )
            if answer.status_code != 200:
                said = await anext(pieces(answer), b"")
                raise ValueError(f"{model}: llama-server answered {answer.status_code}: {said[:300].decode(errors='replace')}")
            old = self._held.pop(model, None)
            self._held[model] = (stack.pop_all(), time.monotonic())
        if old:
            await old[0].aclose()
        logger.info("%s is kept loaded", model)
