# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the chat templates of a server's models need: learnt from llama-server and kept while the model is loaded."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from .histories import Needs, needs_of, probes
from .slots import EngineFailed

Post = Callable[[bytes, Any], Awaitable[tuple[int, bytes]]]

logger = logging.getLogger(__name__)

PATH = b"/apply-template"
UNLESS_LOADED = b"?autoload=false"  # no request for this model yet
LEARN_SECONDS = 10.0  # thirty requests of a few milliseconds each


class Templates:
    """Asks once for each model that is loaded. To be used on one event loop.

    :param post: sends JSON to a path of llama-server and returns status and content. It raises EngineFailed.
    :param enabled: False: nothing is asked, nothing is known.
    :param patience: seconds that llama-server may take for the first answer of a loaded model, and for all others.
    """

    def __init__(self, post: Post, *, enabled: bool, patience: float = LEARN_SECONDS) -> None:
        self._post, self._enabled, self._patience = post, enabled, patience
        self._tasks: dict[str, asyncio.Task[Needs | None]] = {}
        self._loaded: frozenset[str] = frozenset()

    def seen(self, loaded: Collection[str]) -> None:
        """Records which models are loaded: forgets the needs of all others, and learns those of new ones."""
        loaded = frozenset(loaded)
        if loaded == self._loaded:
            return
        self._loaded = loaded
        for model in [model for model, task in self._tasks.items() if model not in loaded and task.done()]:
            del self._tasks[model]
        for model in loaded:
            self._learning(model, UNLESS_LOADED)

    def known(self, model: str | None) -> Needs | None:
        """Returns the needs of a model; None if they are not known yet."""
        task = self._tasks.get(model or "")
        return task.result() if task is not None and task.done() and not task.cancelled() else None

    async def needs(self, model: str) -> Needs | None:
        """Learns and returns the needs of a model; None if that fails. It may load the model, so hold one of its slots."""
        task = self._learning(model, b"")
        return await asyncio.shield(task) if task is not None else None

    def close(self) -> None:
        """Stops the background tasks."""
        for task in self._tasks.values():
            task.cancel()

    def _learning(self, model: str, query: bytes) -> asyncio.Task[Needs | None] | None:
        if not self._enabled:
            return None
        if model not in self._tasks:
            self._tasks[model] = asyncio.create_task(self._learn(model, PATH + query))
        return self._tasks[model]

    async def _learn(self, model: str, target: bytes) -> Needs | None:
        (first, asked), *others = probes()
        try:
            async with asyncio.timeout(self._patience if model in self._loaded else None):  # loading has no time limit
                prompts = {first: await self._prompt(model, target, asked)}
            async with asyncio.timeout(self._patience):
                for name, asked in others:
                    prompts[name] = await self._prompt(model, target, asked)
            return needs_of(prompts)
        except ValueError as error:
            logger.warning("histories for %s are not rewritten: %s", model, error)
            return None
        except (EngineFailed, TimeoutError) as error:
            self._tasks.pop(model, None)  # the next request tries again
            logger.warning("histories for %s are not rewritten for now: %s", model, str(error) or type(error).__name__)
            return None

    async def _prompt(self, model: str, target: bytes, asked: dict[str, Any]) -> str | None:
        """Returns the prompt that this becomes, None if it is refused. Raises EngineFailed when nothing is said about it."""
        status, content = await self._post(target, {"model": model, **asked})
        if status == 503 or (status >= 400 and b"model is not loaded" in content):
            raise EngineFailed("it is not loaded", reached=True)
        if status != 200:
            return None
        try:
            return str(json.loads(content)["prompt"])
        except (ValueError, KeyError, TypeError):
            return None
