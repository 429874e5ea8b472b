# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forwards one request to llama-server and its answer back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .answers import error_of, with_errors
from .discretion import Discretion, discreet, may_read
from .engine import Connection, Watch, pieces
from .errors import error_object, error_of_event, is_error_event, status_of
from .gate import Gate
from .histories import Needs
from .metrics import ServerMetrics
from .prepare import Prepared, prepared
from .progress import UNASKED, answer_itself, look_at_prompt
from .question import BadRequest, Question
from .recall import Prompt, Recall
from .reply import Headers, Reply
from .slots import EngineFailed, Outcome, Role, Ticket, no_work
from .templates import Templates
from .tokens import Tail, timings_in

logger = logging.getLogger(__name__)

# Limits how often a request is sent again, since it may be what crashes the engine.
MOST_SENDS = 3
TO_ENGINE = frozenset({"content-type", "origin", "access-control-request-method", "access-control-request-headers"})
FROM_ENGINE = frozenset({"content-type", "content-length", "retry-after", "allow", "vary"})
OF_THE_BODY = ("content-type", "content-length")
CORS = "access-control-"


@dataclass(frozen=True)
class Incoming:
    """A request as received.

    :param target: path and query as the client wrote them.
    :param headers: with names in lower case.
    :param question: what it asks for in a slot; None: it needs none.
    :param reshape: makes the answer's JSON of llama-server's content. It may raise BadRequest.
    """

    method: str
    target: bytes
    headers: Mapping[str, str]
    body: bytes
    role: Role
    question: Question | None = None
    reshape: Callable[[bytes], Any] | None = None

    @property
    def model(self) -> str | None:
        """The model whose slot it needs."""
        return self.question.model if self.question else None

    @property
    def user(self) -> str:
        """The caller."""
        return self.headers.get("x-copilot-user", "")

    @property
    def to_engine(self) -> dict[str, str]:
        """The headers for llama-server: those that describe the body, and those of CORS, which it handles itself."""
        return {name: value for name, value in self.headers.items() if name in TO_ENGINE}


class Carrier:
    """Between clients and llama-server.

    :param look_every: seconds between two looks at a prompt of which llama-server does not tell by itself.
    """

    def __init__(
        self,
        connection: Connection,
        gate: Gate,
        watch: Watch,
        templates: Templates,
        recall: Recall,
        metrics: ServerMetrics,
        *,
        look_every: float,
    ) -> None:
        self._connection, self._gate, self._watch, self._templates = connection, gate, watch, templates
        self._recall, self._metrics, self._look_every = recall, metrics, look_every

    async def carry(self, request: Incoming, reply: Reply) -> None:
        """Waits for the request's turn, sends it, and forwards the answer. Always frees the slot.

        Raises BadRequest, Refusal and EngineFailed.
        """
        sent = _prepared(request, self._templates.known(request.model), reply)  # errors are reported before it waits
        prompt = self._recall.recognise(request.question)
        ticket = self._gate.arrive(request.model, request.role, request.user, prompt.seconds if prompt else no_work)
        reply.waits_for = lambda: self._gate.waits_for(ticket)
        try:
            await self._send(request, sent, reply, ticket, prompt)
            self._gate.end(ticket, Outcome.ANSWERED)
        except BadRequest:  # detected only now, and nothing was sent
            self._gate.end(ticket, Outcome.ANSWERED)
            raise
        except EngineFailed:
            self._gate.end(ticket, Outcome.BROKEN)
            raise
        finally:
            self._gate.leave(ticket)  # if this is cancelled

    async def _send(self, request: Incoming, sent: Prepared, reply: Reply, ticket: Ticket, prompt: Prompt | None) -> None:
        sends, again = 0, False
        while True:
            await self._gate.turn(ticket)
            if request.model is not None:
                sent = _prepared(request, await self._templates.needs(request.model), reply, sent)
                self._metrics.sent(request.model, time.monotonic() - ticket.arrived, again=again)
            sends, again = sends + 1, True
            begun = self._recall.begin(prompt)
            asked = time.monotonic()
            try:
                async with self._connection.ask(request.method, request.target, request.to_engine, sent.body) as found:
                    if found.status_code == 503 and sends < MOST_SENDS:
                        raise EngineFailed("it loads its model", reached=True)
                    tail = await self._pass_on(found, request, sent, reply, ticket)
                    reply.said, reply.computing = timings_in(tail), time.monotonic() - asked
                    return self._recall.answered(request.model, begun, reply.said)
            except EngineFailed as failure:
                logger.warning("llama-server failed a request: %s", failure)
                if reply.begun or (failure.reached and sends >= MOST_SENDS):
                    raise
                sends -= not failure.reached
            # Poll before the request waits again: with outdated health it would run again at once.
            await self._watch.look()
            self._gate.again(ticket)

    async def _pass_on(self, found: httpx.Response, request: Incoming, sent: Prepared, reply: Reply, ticket: Ticket) -> bytes:
        """Returns the end of llama-server's answer."""
        passed = pieces(found)
        if found.status_code >= 400:
            content = b"".join([piece async for piece in passed])
            asked = f"{request.method} {request.target.partition(b'?')[0].decode('latin-1')}"
            await reply.fail(*error_of(found.status_code, content, asked), _headers(found, without=OF_THE_BODY))
            return b""
        if request.reshape is not None:
            content = request.reshape(b"".join([piece async for piece in passed]))
            await reply.whole(found.status_code, content, _headers(found, without=OF_THE_BODY))
            return b""
        if _is_stream(found):
            told = ticket.tell if sent.progress else None
            passed = with_errors(answer_itself(passed, told), typed=reply.typed)
        elif reply.started:  # the client already got the headers of a stream
            await reply.error(error_object(502, "llama-server did not return a stream."))
            return b""
        tail = Tail(whole=not _is_stream(found))
        if not _is_stream(found) and request.question is not None and not may_read(request.role):
            content = b"".join([piece async for piece in passed])
            tail.add(content)
            said = discreet(content)
            length = (b"content-length", str(len(said)).encode())
            await reply.start(found.status_code, [*_headers(found, without=("content-length",)), length])
            await reply.piece(said)
            await reply.finish()
            return tail.content
        discretion = Discretion(request.role, stream=_is_stream(found))
        looking = self._looking(found, request.question, sent, ticket)
        try:
            first = await anext(passed, b"")  # an answer that ends before it starts can still be retried
        finally:
            if looking is not None:
                looking.cancel()
        if not reply.started:
            await reply.start(found.status_code, _headers(found))
        piece = first
        while piece:
            tail.add(piece)
            if passes := discretion.piece(piece):
                await reply.piece(passes)
            piece = await anext(passed, b"")
        if rest := discretion.rest():
            await reply.piece(rest)
        if is_error_event(tail.last):  # llama-server aborted, and reports it in the stream
            reply.status = status_of(error_of_event(tail.last))
        await reply.finish()
        return tail.content

    def _looking(
        self, found: httpx.Response, question: Question | None, sent: Prepared, ticket: Ticket
    ) -> asyncio.Task[None] | None:
        """Starts to poll the progress of a prompt that llama-server does not report by itself."""
        if question is None or question.path != UNASKED or not _is_stream(found):
            return None
        looks = look_at_prompt(self._watch, question, sent.body, ticket.tell, every=self._look_every)
        return asyncio.create_task(looks)


def _prepared(request: Incoming, needs: Needs | None, reply: Reply, earlier: Prepared | None = None) -> Prepared:
    """Returns the prepared request, and adds headers about its changes to the answer."""
    if request.question is None:
        return Prepared(request.body)
    if earlier is not None and earlier.needs is needs:
        return earlier
    found = prepared(request.question, request.body, needs)
    reply.also = found.headers
    return found


def _is_stream(found: httpx.Response) -> bool:
    return str(found.headers.get("content-type", "")).startswith("text/event-stream")


def _headers(found: httpx.Response, without: Collection[str] = ()) -> Headers:
    names = ((name.decode().lower(), name, value) for name, value in found.headers.raw)
    return [(name, value) for lower, name, value in names if _passes(lower) and lower not in without]


def _passes(name: str) -> bool:
    return name in FROM_ENGINE or name.startswith(CORS)


async def tell(reply: Reply, status: int, message: str, code: str, headers: Headers = ()) -> None:
    """Sends an error of the router to the client."""
    await reply.fail(status, error_object(status, message, code), headers)
