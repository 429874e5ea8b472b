# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries LiteLLM's requests to backends: chooses one, tries another when it fails, and frees what was counted.

LiteLLM knows one deployment for each model and takes this for its connection to it (``litellm.aclient_session``). So there is
one place that sees every way in which a request can end, and LiteLLM's retries, cooldowns and counters have nothing to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar

import httpx

from .errors import error_object, error_of_event, is_error_event, status_of
from .fleet import Engine, Fleet
from .pool import Health, Lease, NoBackend, Outcome, Request

logger = logging.getLogger(__name__)
T = TypeVar("T")

API_BASE = "http://127.0.0.1:9/v1"  # what LiteLLM takes for the address; nothing is ever sent there, no name is looked up
DONE = b"data: [DONE]"
REFUSALS = (401, 403)
# Another backend may do better. 501 is not among them: llama-server says so to what it was not started for.
RETRIED = (*REFUSALS, 408, 429, 500, 502, 503, 504)
PASSED_ON = (408, 429, 500)  # of these; what the others say would only confuse a client


class BackendFailed(Exception):
    """A backend did not do its part; the text says how."""

    def __init__(self, reason: str, answer: httpx.Response | None = None) -> None:
        super().__init__(reason)
        self.answer = answer  # what it said, if it said so itself


class Turn:
    """A client's request, from its arrival until nothing more is sent to the client."""

    def __init__(self) -> None:
        self.open: set[Attempt] = set()
        self.retry_after = 0  # seconds; more than 0 if there was no backend
        self.broken = ""  # why the answer ended in the middle
        self.user = ""  # who asks, by name

    async def end(self) -> None:
        """Frees whatever is still held, however the request ended."""
        left = list(self.open)
        for attempt in left:  # all of them before anything is waited for
            attempt.free(Outcome.ABANDONED)
        for attempt in left:
            await attempt.close(Outcome.ABANDONED)


current_turn: ContextVar[Turn] = ContextVar("current_turn")


class Attempt:
    """One request at one backend. Whoever made it must close it."""

    def __init__(self, fleet: Fleet, engine: Engine, lease: Lease, of: Turn) -> None:
        self.lease = lease
        self.turn = of
        self._fleet, self._engine = fleet, engine
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._guard: asyncio.Timeout | None = None
        self._aborted = ""
        engine.attempts.add(self)
        of.open.add(self)

    def abort(self, reason: str) -> None:
        """Ends what is being waited for, if anything is, and all that comes later."""
        if not self._aborted:
            self._aborted = reason or "it is down"
            if self._guard is not None:
                self._guard.reschedule(0)

    async def _wait(self, what: Awaitable[T]) -> T:
        """Waits until it is there or the attempt is aborted. Raises BackendFailed in place of what httpx raises."""
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
        """Sends it and waits until the answer begins."""
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

    async def first_event(self) -> bytes:
        """Returns the answer's stream up to the first event with data: signs of life before it are no answer yet."""
        seen = b""
        while not (seen.startswith(b"data:") or b"\ndata:" in seen):
            piece = await self.piece()
            if not piece:
                raise BackendFailed("its answer ended before it began")
            seen += piece
        return seen

    async def fail(self, reason: str) -> None:
        """Closes it after its answer began: the client gets to know."""
        self.turn.broken = f"backend {self.lease.backend.id} broke off its answer: {reason}"
        await self.close(Outcome.FAILURE)

    def free(self, outcome: Outcome) -> None:
        """Frees the lease; only the first outcome counts."""
        self._fleet.pool.release(self.lease, outcome, time.monotonic())
        self.turn.open.discard(self)
        self._engine.attempts.discard(self)

    async def close(self, outcome: Outcome) -> None:
        """Frees the lease and hangs up."""
        self.free(outcome)
        response, self._response = self._response, None
        if response is not None:
            with suppress(RuntimeError, OSError, httpx.TransportError):  # somebody may still read from it
                await response.aclose()


class Balancer(httpx.AsyncBaseTransport):
    """The connection to whichever backend is best."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Returns the answer of the first backend that gives one; 503 with Retry-After when none is left."""
        of = current_turn.get(None) or Turn()
        content = await request.aread()
        body = json.loads(content)
        path = request.url.raw_path.decode().removeprefix("/v1")
        tried: set[str] = set()
        suspects: list[Attempt] = []  # that answered 500: by their own fault if another backend knows better
        answer: httpx.Response | None = None
        verdict = Outcome.ABANDONED
        try:
            while True:
                lease = self._fleet.pool.acquire(Request(body.get("model", ""), body), time.monotonic(), tried)
                if lease.backend.id in tried:
                    self._fleet.pool.release(lease, Outcome.ABANDONED, time.monotonic())
                    break
                tried.add(lease.backend.id)
                engine = self._fleet.engines[lease.backend.id]
                attempt = Attempt(self._fleet, engine, lease, of)
                try:
                    found = await self._answer(attempt, engine, request.method, path, body, content)
                    verdict = Outcome.FAILURE
                    return found
                except BackendFailed as failure:
                    logger.warning("backend %s failed a request: %s", lease.backend.id, failure)
                    answer = answer or failure.answer
                    if failure.answer is not None and failure.answer.status_code == 500:
                        suspects.append(attempt)
                    else:
                        await attempt.close(Outcome.FAILURE)
                except BaseException:
                    await attempt.close(Outcome.ABANDONED)
                    raise
        except NoBackend as none:
            if answer is None:
                of.retry_after = none.retry_after
                answer = refusal(503, none.reason, {"retry-after": str(none.retry_after)})
        finally:
            for suspect in suspects:
                await suspect.close(verdict)
        if answer is None:
            of.retry_after = 1
            answer = refusal(503, f"none of {len(tried)} backends could answer", {"retry-after": "1"})
        return answer

    async def _answer(
        self, attempt: Attempt, engine: Engine, method: str, path: str, body: dict[str, Any], content: bytes
    ) -> httpx.Response:
        """Returns the backend's answer: whole, or a stream of which the first event is there. Raises BackendFailed."""
        there = engine.server.models.get(body.get("model", ""))
        if there is not None and there != body["model"]:
            content = json.dumps({**body, "model": there}).encode()
        user = attempt.turn.user
        request = engine.request(method, path, content, timeout=self._fleet.settings.request_timeout, user=user)
        response = await attempt.send(request)
        if response.status_code in RETRIED:
            if response.status_code in REFUSALS:
                self._fleet.report(engine, Health.REFUSED, f"its key is refused ({response.status_code})")
                raise BackendFailed(f"its key is refused ({response.status_code})")
            text = await attempt.rest()
            passed_on = response.status_code in PASSED_ON
            raise BackendFailed(f"it answered {response.status_code}", _copy(response, text) if passed_on else None)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            first = await attempt.first_event()
            if is_error_event(first):
                return await self._late_error(attempt, first)
            stream = AnswerStream(attempt, first, ends_with_done=path.endswith("/completions"))
            return httpx.Response(response.status_code, headers=_headers(response), stream=stream)
        text = await attempt.rest()
        await attempt.close(Outcome.SUCCESS)
        return _copy(response, text)

    async def _late_error(self, attempt: Attempt, first: bytes) -> httpx.Response:
        """Returns as an answer what a server's router could say in its stream only, which kept the request alive until then."""
        error = error_of_event(first + await attempt.rest())
        status = status_of(error)
        answer = httpx.Response(status, json={"error": error})
        if status >= 500:
            raise BackendFailed(f"it answered {status}", answer if status in PASSED_ON else None)
        await attempt.close(Outcome.SUCCESS)
        return answer


class AnswerStream(httpx.AsyncByteStream):
    """A stream whose first event is there. Its backend can no longer be changed."""

    def __init__(self, attempt: Attempt, first: bytes, *, ends_with_done: bool) -> None:
        self._attempt, self._first = attempt, first
        self._ends_with_done = ends_with_done
        self._complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yields the pieces; a backend that dies meanwhile is noted, and raises httpx.RemoteProtocolError."""
        piece, tail = self._first, b""
        try:
            while piece:
                if is_error_event(piece):
                    raise BackendFailed(str(error_of_event(piece).get("message", "it gave no reason")))
                tail = (tail + piece)[-64:]
                self._complete = DONE in tail
                yield piece
                piece = await self._attempt.piece()
            if self._ends_with_done and not self._complete:
                raise BackendFailed("its answer ended in the middle")
            self._complete = True
        except BackendFailed as failure:
            if not self._complete:
                name = self._attempt.lease.backend.id
                logger.warning("backend %s broke off an answer: %s", name, failure)
                await self._attempt.fail(str(failure))
                raise httpx.RemoteProtocolError(f"backend {name} broke off its answer") from failure

    async def aclose(self) -> None:
        """Ends it, before its end when the client left."""
        await self._attempt.close(Outcome.SUCCESS if self._complete else Outcome.ABANDONED)


def _headers(response: httpx.Response) -> dict[str, str]:
    return {"content-type": response.headers.get("content-type", "application/json")}


def _copy(response: httpx.Response, content: bytes) -> httpx.Response:
    return httpx.Response(response.status_code, headers=_headers(response), content=content)


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Returns an answer of our own in OpenAI's form."""
    return httpx.Response(status, headers=headers, json={"error": error_object(status, message)})
