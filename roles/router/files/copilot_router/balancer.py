# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forwards requests to backends and their answers back: chooses a backend, retries at another one if it fails before its answer
has started, and releases the lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import httpx

from . import foreign
from .answers import refined
from .attempt import Attempt, BackendFailed, Said
from .conversations import PATHS as CONVERSATIONS
from .conversations import chain_of
from .discretion import Discretion, discreet, may_read
from .errors import error_in, error_object, error_of_event, is_error_event, is_of_the_model, status_of
from .fleet import Engine, Fleet
from .pool import Health, NoBackend, Outcome, Request
from .question import BadRequest
from .reply import Headers, Reply
from .slots import Role
from .tokens import Tail, timings_in, tokens_in
from .turn import Asked, Turn

logger = logging.getLogger(__name__)

DONE = b"data: [DONE]"
REFUSALS = (401, 403)
# Statuses that are retried at another backend. 501 is not: llama-server returns it for features it was not started with.
RETRIED = (*REFUSALS, 408, 429, 500, 502, 503, 504)
PASSED_ON = (408, 429, 500)  # of these; the messages of others would confuse a client
FROM_BACKEND = frozenset({b"content-type", b"cache-control", b"retry-after"})
OF_THE_ROUTER = frozenset({b"x-copilot-history", b"x-copilot-tools"})  # headers of a server's router about its changes


@dataclass(frozen=True)
class Stream:
    """An answer of which the first event is there. Its backend can no longer be changed."""

    attempt: Attempt
    headers: Headers
    first: bytes


class Balancer:
    """Between clients and whichever backend is best."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def carry(self, turn: Turn) -> None:
        """Sends the client the answer of the first backend that succeeds; 503 with Retry-After if none is left."""
        found = await self._ask(turn)
        if isinstance(found, Stream):
            turn.status, turn.usage = await _pass_on(found, turn)
        else:
            shown = found if may_read(turn.asked.role) else replace(found, content=discreet(found.content))
            await tell(turn.reply, shown)
            turn.status, turn.usage = found.status, tokens_in(found.content)

    async def _ask(self, turn: Turn) -> Said | Stream:
        tried: set[str] = set()
        suspects: list[Attempt] = []  # answered 500: the backend's fault if another one succeeds
        answer: Said | None = None
        verdict = Outcome.ABANDONED
        request = self._request(turn.asked)
        try:
            while True:
                lease = self._fleet.pool.acquire(request, time.monotonic(), tried)
                if lease.backend.id in tried:
                    self._fleet.pool.release(lease, Outcome.ABANDONED, time.monotonic())
                    break
                tried.add(lease.backend.id)
                self._fleet.metrics.chosen(lease, again=len(tried) > 1)
                engine = self._fleet.engines[lease.backend.id]
                attempt = Attempt(self._fleet, engine, lease, turn)
                try:
                    found = await self._answer(attempt, engine, turn)
                    verdict = Outcome.FAILURE
                    return found
                except BackendFailed as failure:
                    logger.warning("backend %s failed a request: %s", lease.backend.id, failure)
                    answer = answer or failure.answer
                    if failure.answer is not None and failure.answer.status == 500:
                        suspects.append(attempt)
                    else:
                        await attempt.close(Outcome.FAILURE)
                except BaseException:
                    await attempt.close(Outcome.ABANDONED)
                    raise
        except NoBackend as none:
            if answer is None:
                self._fleet.metrics.refused(request.model, "none_usable" if not tried else "all_failed")
                answer = refusal(503, none.reason, none.retry_after)
        finally:
            for suspect in suspects:
                await suspect.close(verdict)
        if answer is None:
            self._fleet.metrics.refused(request.model, "all_failed")
            answer = refusal(503, f"none of {len(tried)} backends could answer", 1)
        return answer

    def _request(self, asked: Asked) -> Request:
        """Returns the parts of the request that the pool needs to choose."""
        chain = chain_of(asked.content, asked.model, self._fleet.marks_key)
        return Request(asked.model, chain, kept=asked.path.removeprefix("/v1") in CONVERSATIONS)

    async def _answer(self, attempt: Attempt, engine: Engine, turn: Turn) -> Said | Stream:
        """Returns the backend's answer: whole, or a stream of which the first event is there. Raises BackendFailed."""
        asked, reply = turn.asked, turn.reply
        name = engine.server.models.get(asked.model, asked.model)
        content = asked.body_for(name)
        reply.also = route = _route(attempt, turn)
        turn.foreign = engine.server.foreign
        if engine.server.foreign:
            needs = await engine.templates.needs(name) if self._fleet.settings.histories else None
            try:
                content, done = foreign.prepared(asked, name, needs)
                reply.also = [*route, *done]
            except BadRequest as wrong:
                await attempt.close(Outcome.ABANDONED)
                return refused(wrong)
        below_api = asked.target.startswith("/v1/")
        path = asked.target.removeprefix("/v1") if below_api else asked.target
        timeout = self._fleet.settings.request_timeout
        request = engine.request("POST", path, content, timeout=timeout, below_api=below_api, user=asked.user)
        response = await attempt.send(request)
        if response.status_code in REFUSALS:
            self._fleet.report(engine, Health.REFUSED, f"its key is refused ({response.status_code})")
            raise BackendFailed(f"its key is refused ({response.status_code})")
        headers = _headers(response, FROM_BACKEND)
        if not engine.server.foreign:
            reply.also = [*route, *_headers(response, OF_THE_ROUTER)]
        if response.status_code == 200 and response.headers.get("content-type", "").startswith("text/event-stream"):
            first = await attempt.first_event(reply.comment)
            if not is_error_event(first):
                return Stream(attempt, headers, first)
            # An error that a server's router had to send in the stream, after keep-alive comments.
            error = error_of_event(first + await attempt.rest())
            said = Said(status_of(error), error=error)
        elif response.status_code < 400:
            said = Said(response.status_code, headers, await attempt.rest())
            attempt.answered(timings_in(said.content))
            if route:
                reply.also = [*_route(attempt, turn), *reply.also[len(route) :]]
        else:
            retry = [(header, value) for header, value in headers if header == b"retry-after"]
            said = Said(response.status_code, retry, error=error_in(response.status_code, await attempt.rest()))
        if engine.server.foreign and said.error is not None:
            status, error = refined(said.status, said.error, f"POST {asked.path}")
            said = replace(said, status=status, error=error)
        if said.status in RETRIED and not is_of_the_model(said.error):
            raise BackendFailed(f"it answered {said.status}", said if said.status in PASSED_ON else None)
        await attempt.close(Outcome.SUCCESS)
        return said


async def _pass_on(stream: Stream, turn: Turn) -> tuple[int, dict[str, Any]]:
    """Passes a stream on to its end; a backend that dies meanwhile is noted, and its client told.

    Returns the status that the answer would have had, had it come as a whole, and what the backend counted.
    """
    attempt, reply = stream.attempt, turn.reply
    if not reply.started:
        await reply.start(200, stream.headers)
    piece, tail, complete = stream.first, Tail(whole=False), False
    discretion = Discretion(turn.asked.role)
    reason = ""
    try:
        while piece:
            if passes := discretion.piece(piece):
                await reply.piece(passes)
            tail.add(piece)
            complete = complete or DONE in tail.last
            piece = await attempt.piece()
        if rest := discretion.rest():
            await reply.piece(rest)
        if turn.asked.path.endswith("/completions") and not complete:
            reason = "its answer ended in the middle"
    except BackendFailed as failure:
        reason = "" if complete else str(failure)
    name = attempt.lease.backend.id
    if is_error_event(tail.last):  # the stream already contains the error for the client
        error = error_of_event(tail.last)
        status = status_of(error)
        logger.warning("backend %s broke off an answer: %s", name, error.get("code"))
        await attempt.close(Outcome.SUCCESS if status < 500 or is_of_the_model(error) else Outcome.FAILURE)
        await reply.finish()
        return status, {}
    if reason:
        logger.warning("backend %s broke off an answer: %s", name, reason)
        await attempt.close(Outcome.FAILURE)
        await reply.error(error_object(502, f"The backend {name} broke off its answer: {reason}.", "engine_failed"))
        return 502, {}
    attempt.answered(timings_in(tail.content))
    await attempt.close(Outcome.SUCCESS)
    await reply.finish()
    return 200, tokens_in(tail.last)


async def tell(reply: Reply, said: Said) -> None:
    """Gives a client a whole answer; if it was told of a stream meanwhile, an error as its last event."""
    if said.error is not None or reply.started:
        error = error_object(502, "The backend did not return a stream.", "engine_failed") if said.error is None else said.error
        return await reply.fail(said.status, error, said.headers)
    await reply.start(said.status, [*said.headers, (b"content-length", str(len(said.content)).encode())])
    await reply.piece(said.content)
    return await reply.finish()


def refusal(status: int, message: str, retry_after: int = 0, code: str | None = None) -> Said:
    """Returns an error of our own.

    :param retry_after: seconds; 0: nothing is said about when to ask again.
    """
    headers = [(b"retry-after", str(retry_after).encode())] if retry_after else []
    return Said(status, headers, error=error_object(status, message, code))


def refused(wrong: BadRequest) -> Said:
    """Returns the error for an invalid request."""
    return Said(wrong.status, wrong.headers, error=error_object(wrong.status, str(wrong), wrong.code))


def _route(attempt: Attempt, turn: Turn) -> list[tuple[bytes, bytes]]:
    """Returns the header about the choice, for administrators."""
    if turn.asked.role != Role.ADMIN:
        return []
    lease, words = attempt.lease, [attempt.lease.reason, f"expected={attempt.lease.expected}"]
    words += [f"cached={attempt.timings.cached}", f"computed={attempt.timings.computed}"] if attempt.timings else []
    return [(b"x-copilot-route", f"{lease.backend.id}; {'; '.join(words)}".encode("latin-1", "replace"))]


def _headers(response: httpx.Response, names: Collection[bytes]) -> list[tuple[bytes, bytes]]:
    """Returns those of these names, which are in lower case."""
    return [(name.lower(), value) for name, value in response.headers.raw if name.lower() in names]
