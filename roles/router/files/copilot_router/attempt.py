# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One request at one backend: it can be aborted at any time, and its lease is released exactly once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from .fleet import Engine, Fleet
from .pool import Lease, Outcome
from .reply import Headers
from .tokens import Timings
from .turn import Turn

T = TypeVar("T")
EVENT_END = re.compile(rb"\r?\n\r?\n")
DATA = re.compile(rb"^data:", re.MULTILINE)


@dataclass(frozen=True)
class Said:
    """A whole answer.

    :param error: what OpenAI's API puts under ``error``; None: it is none, but ``content``.
    """

    status: int
    headers: Headers = ()
    content: bytes = b""
    error: Any = None


class BackendFailed(Exception):
    """A backend failed; the message says how."""

    def __init__(self, reason: str, answer: Said | None = None) -> None:
        super().__init__(reason)
        self.answer = answer  # its own error, if it sent one


class Attempt:
    """One request at one backend. Its creator must close it."""

    def __init__(self, fleet: Fleet, engine: Engine, lease: Lease, of: Turn) -> None:
        self.lease = lease
        self.turn = of
        self.timings: Timings | None = None
        self._fleet, self._engine = fleet, engine
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._guard: asyncio.Timeout | None = None
        self._aborted = ""
        engine.attempts.add(self)
        of.open.add(self)

    def abort(self, reason: str) -> None:
        """Aborts the current wait, if any, and all later ones."""
        if not self._aborted:
            self._aborted = reason or "it is down"
            if self._guard is not None:
                self._guard.reschedule(0)

    async def _wait(self, what: Awaitable[T]) -> T:
        """Waits for a result, or until the attempt is aborted. Turns httpx's errors into BackendFailed."""
        try:
            async with asyncio.timeout(None) as guard:
                self._guard = guard
                if self._aborted:
                    guard.reschedule(0)
                found = await what
                self._engine.heard = time.monotonic()
                return found
        except TimeoutError:
            raise BackendFailed(self._aborted) from None
        except httpx.TransportError as error:
            raise BackendFailed(str(error) or type(error).__name__) from error
        finally:
            self._guard = None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Sends the request and waits for the start of the answer."""
        response = await self._wait(self._engine.transport.handle_async_request(request))
        self._response = response
        self._body = response.aiter_raw()
        return response

    async def piece(self) -> bytes:
        """Returns the next piece of the answer, nothing at its end."""
        assert self._body is not None
        return await self._wait(anext(self._body, b""))

    async def rest(self) -> bytes:
        """Returns all that is left of the answer."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def first_event(self, comment: Callable[[bytes], Awaitable[None]]) -> bytes:
        """Returns the answer's stream up to the end of the first event with data.

        :param comment: called with keep-alive comments that come before it.
        """
        seen = b""
        while True:
            while end := EVENT_END.search(seen):
                if DATA.search(seen, 0, end.start()):
                    return seen
                await comment(seen[: end.end()])
                seen = seen[end.end() :]
            piece = await self.piece()
            if not piece:
                raise BackendFailed("its answer ended before it began")
            seen += piece

    def answered(self, said: Timings | None) -> None:
        """Notes what the whole answer says of its prompt, if anything. To be called before it is closed."""
        if said is not None:
            self.timings = self.turn.reply.said = said
            self._fleet.pool.answered(self.lease, said, time.monotonic())

    def free(self, outcome: Outcome) -> None:
        """Releases the lease; only the first outcome counts."""
        if self._fleet.pool.release(self.lease, outcome, time.monotonic()):
            self._fleet.metrics.freed(self.lease, outcome, self.turn.reply, self.timings)
        self.turn.open.discard(self)
        self._engine.attempts.discard(self)

    async def close(self, outcome: Outcome) -> None:
        """Releases the lease and closes the connection."""
        self.free(outcome)
        response, self._response = self._response, None
        if response is not None:
            with suppress(RuntimeError, OSError, httpx.TransportError):  # it may still be read from
                await response.aclose()
