# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries one request to llama-server and its answer back."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .engine import Connection, EngineFailed, Watch, pieces
from .errors import error_object
from .gate import Gate
from .reply import Headers, Reply
from .slots import Outcome, Role, Ticket

logger = logging.getLogger(__name__)

# A request that may be what kills the engine is not sent for ever.
MOST_SENDS = 3
TO_ENGINE = frozenset({"content-type", "origin", "access-control-request-method", "access-control-request-headers"})
FROM_ENGINE = frozenset({"content-type", "content-length", "retry-after", "allow", "vary"})
CORS = "access-control-"


@dataclass(frozen=True)
class Incoming:
    """A request as it came.

    :param target: path and query as the client wrote them.
    :param model: whose slot it needs; None: it needs none.
    :param headers: with names in lower case.
    """

    method: str
    target: bytes
    headers: Mapping[str, str]
    body: bytes
    role: Role
    model: str | None = None

    @property
    def to_engine(self) -> dict[str, str]:
        """The headers that llama-server gets: those that say what the body is, and those of CORS, which is its own."""
        return {name: value for name, value in self.headers.items() if name in TO_ENGINE}


class Carrier:
    """Between clients and llama-server."""

    def __init__(self, connection: Connection, gate: Gate, watch: Watch) -> None:
        self._connection, self._gate, self._watch = connection, gate, watch

    async def carry(self, request: Incoming, reply: Reply) -> None:
        """Waits for the request's turn, sends it, passes the answer on; frees the slot, however it ends."""
        ticket = self._gate.arrive(request.model, request.role)
        try:
            await self._send(request, reply, ticket)
            self._gate.end(ticket, Outcome.ANSWERED)
        except EngineFailed:
            self._gate.end(ticket, Outcome.BROKEN)
            raise
        finally:
            self._gate.leave(ticket)  # if this is cancelled

    async def _send(self, request: Incoming, reply: Reply, ticket: Ticket) -> None:
        sends = 0
        while True:
            await self._gate.turn(ticket)
            sends += 1
            try:
                async with self._connection.ask(request.method, request.target, request.to_engine, request.body) as found:
                    if found.status_code == 503 and sends < MOST_SENDS:
                        raise EngineFailed("it loads its model", reached=True)
                    return await _pass_on(found, reply)
            except EngineFailed as failure:
                logger.warning("llama-server failed a request: %s", failure)
                if reply.begun or (failure.reached and sends >= MOST_SENDS):
                    raise
                sends -= not failure.reached
            # Before the request waits again: its turn would come at once by what was seen last.
            await self._watch.look()
            self._gate.again(ticket)


async def _pass_on(found: httpx.Response, reply: Reply) -> None:
    passed = pieces(found)
    first = await anext(passed, b"")  # an answer that ends before it begins can still be asked for again
    if reply.started and not _is_stream(found):
        # The client was told of a stream meanwhile: what is to be said has the form of an event.
        return await reply.error(_error_in(found.status_code, b"".join([first, *[piece async for piece in passed]])))
    if not reply.started:
        await reply.start(found.status_code, _headers(found))
    if first:
        await reply.piece(first)
    async for piece in passed:
        await reply.piece(piece)
    return await reply.finish()


def _is_stream(found: httpx.Response) -> bool:
    return str(found.headers.get("content-type", "")).startswith("text/event-stream")


def _headers(found: httpx.Response) -> Headers:
    return [(name, value) for name, value in found.headers.raw if _passes(name.decode().lower())]


def _passes(name: str) -> bool:
    return name in FROM_ENGINE or name.startswith(CORS)


def _error_in(status: int, content: bytes) -> Any:
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        error = None
    return error or error_object(status if status >= 400 else 502, "llama-server gave no stream.")


async def tell(reply: Reply, status: int, message: str, code: str, headers: Headers = ()) -> None:
    """Tells a client of an error: by the status as long as that is open, else by an event, the last one."""
    error = error_object(status, message, code)
    if reply.started:
        await reply.error(error)
    else:
        await reply.whole(status, {"error": error}, headers)
