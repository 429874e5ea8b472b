# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client's side of one request, in terms of ASGI."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any

from .errors import error_body, error_event
from .tokens import Timings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

EVENT_STREAM: Headers = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))
WAITING = "waiting"
OUTCOMES = ("answered", "invalid", "failed", "refused", "left")  # of a request; the client caused the last one


class ClientLeft(Exception):
    """The client has disconnected."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Returns the headers of a request, with names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive) -> bytes:
    """Returns the whole body as it was sent. Raises ClientLeft."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def wait_until_left(receive: Receive) -> None:
    """Returns once the client is gone. To be called when its body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(
    receive: Receive, serving: Coroutine[Any, Any, None], *, complete: Callable[[], bool] = lambda: False
) -> None:
    """Serves until it is done, or until the client disconnects, which cancels it. Raises whatever serving raised.

    :param complete: whether the client has all of its answer, so that what still has to be done may go on.
    """
    work, left = asyncio.create_task(serving), asyncio.create_task(wait_until_left(receive))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
        if not work.done() and not complete():
            work.cancel()
        await asyncio.gather(work, left, return_exceptions=True)
    if not work.cancelled() and (error := work.exception()) is not None:
        raise error


async def answer(send: Send, status: int, content: Any, headers: Headers = ()) -> None:
    """Sends a whole answer in JSON."""
    body = json.dumps(content).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


class Reply:
    """An answer that is being sent.

    :param first_sign: seconds of waiting after which a stream gets its head and a comment.
    :param signs: seconds of silence after which it gets another comment.
    :param typed: errors are of a type, too, as Anthropic's and OpenAI's newer interface have it.
    """

    def __init__(self, send: Send, *, first_sign: float, signs: float, typed: bool = False) -> None:
        self._send, self._first_sign, self._signs = send, first_sign, signs
        self.typed = typed
        self._spoke = time.monotonic()
        self._between_events, self._is_stream = True, False
        self.started = False  # the headers were sent: the status cannot be changed
        self.begun = False  # part of llama-server's answer was sent: it cannot be retried
        self.status = 0  # the final status, even if the stream had already started with 200; 0 until then
        self.ended = False  # all of it was sent
        self.said: Timings | None = None  # the timings in the answer
        self.computing = 0.0  # seconds from sending the request to llama-server until the end of its answer; 0: it did not answer
        self._arrived, self._first = time.monotonic(), 0.0
        self.also: Headers = ()  # additional headers
        self.waits_for: Callable[[], str] = lambda: WAITING  # text of keep-alive comments

    async def start(self, status: int, headers: Headers) -> None:
        """Sends the status and the headers."""
        self.started, self.status = True, status
        self._is_stream = any(
            name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.also]})

    async def whole(self, status: int, content: Any, headers: Headers = ()) -> None:
        """Sends an answer of our own, head and all."""
        self.started = self.ended = True
        self.status = status
        await answer(self._send, status, content, [*headers, *self.also])

    async def piece(self, content: bytes) -> None:
        """Sends a piece of llama-server's answer."""
        self._first = self._first or time.monotonic()
        self.begun = True
        self._between_events = content.endswith((b"\n\n", b"\r\n\r\n"))
        await self._write(content)

    async def comment(self, content: bytes) -> None:
        """Forwards a keep-alive comment. One that comes before the headers is ignored, so that the status stays open."""
        if self.started and self._between_events:
            await self._write(content)

    @property
    def outcome(self) -> str:
        """The outcome of a finished request, one of ``OUTCOMES``."""
        if not self.ended:
            return "left"
        if self.status < 400:
            return "answered"
        return "invalid" if self.status < 500 else "refused" if self.status == 503 else "failed"

    @property
    def seconds(self) -> float:
        """Seconds since its arrival."""
        return time.monotonic() - self._arrived

    @property
    def first_seconds(self) -> float | None:
        """Seconds from its arrival to the first piece of a stream; None: there is none."""
        return self._first - self._arrived if self._is_stream and self._first else None

    async def finish(self) -> None:
        """Sends the end of an answer that was started."""
        self.ended = True
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, status: int, error: Any, headers: Headers = ()) -> None:
        """Sends an error: as the status as long as that is open, otherwise as the last event of the stream.

        :param error: what OpenAI's API puts under ``error``.
        """
        if self.started:
            await self.error(error, status)
        else:
            await self.whole(status, error_body(error, typed=self.typed), headers)

    async def error(self, error: Any, status: int = 502) -> None:
        """Ends a stream with an error. What is no stream stays without an end, by which its client knows.

        :param error: what OpenAI's API puts under ``error``.
        :param status: that an answer would have had.
        """
        self.status, self.ended = status, True
        if self._is_stream:
            await self._write((b"" if self._between_events else b"\n\n") + error_event(error, typed=self.typed))
            await self.finish()

    async def keep_alive(self) -> None:
        """Sends keep-alive comments while a stream waits, until cancelled."""
        await self._silence(self._first_sign)
        while True:
            if not self.started:
                await self.start(200, EVENT_STREAM)
            if self._between_events:
                await self._write(f": {WAITING if self.begun else self.waits_for()}\n\n".encode())
            else:
                self._spoke = time.monotonic()  # no comment can be sent within an event
            await self._silence(self._signs)

    async def _silence(self, seconds: float) -> None:
        while (left := self._spoke + seconds - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _write(self, content: bytes) -> None:
        self._spoke = time.monotonic()
        await self._send({"type": "http.response.body", "body": content, "more_body": True})
