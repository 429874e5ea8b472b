# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Watches the health of every backend. Backends with our router stream their state; any other is polled once a second with
llama-server's own ``/health``, which is cheap and needs no slot.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from .fleet import Engine, Fleet
from .pool import Health
from .state import PATH as STATE_PATH
from .state import Seen, read_line

INTERVAL_SECONDS = 1.0
ANSWER_SECONDS = 2.0
SILENCE_SECONDS = 10.0  # without any data, until a backend is down: a busy host can be slow for a while
MODELS_SECONDS = 60.0  # between two polls of the models of a ready backend
ANOTHER_TRY_SECONDS = 5.0  # between two attempts to follow the state of a server without a stream
REFUSALS = (401, 403)


async def look(engine: Engine, check_key: bool) -> tuple[Health, str]:
    """Returns the health of a backend, and why it is not ready. Raises TimeoutError if it does not answer in time.

    :param check_key: whether to check that it accepts our key.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await _get(engine, "/health", below_api=False)
            if status == 404:  # an engine other than llama-server
                status = await _get(engine, "/models")
            elif status == 200 and check_key:
                status = await _get(engine, "/props", below_api=False)
                # A gateway hides that path from whoever may not read it. Without a gateway, /models needs no key.
                if status == 404:
                    status = await _get(engine, "/models")
                if status not in REFUSALS:  # these paths can be disabled; the key is checked first
                    status = 200
    except TimeoutError:  # which is an OSError
        raise
    except (httpx.TransportError, OSError, ssl.SSLError) as error:
        return _of_error(error)
    if status == 200:
        return Health.READY, ""
    if status == 503:
        return Health.LOADING, ""
    if status in REFUSALS:
        return Health.REFUSED, f"its key is refused ({status})"
    return Health.DOWN, f"its health check answers {status}"


async def _get(engine: Engine, path: str, *, below_api: bool = True) -> int:
    request = engine.request("GET", path, timeout=None, below_api=below_api)
    response = await engine.transport.handle_async_request(request)
    status: int = response.status_code
    await response.aclose()
    return status


def _of_error(error: Exception) -> tuple[Health, str]:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Health.DOWN, "it does not answer"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Health.REFUSED, f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return Health.REFUSED, f"it does not speak TLS as expected ({cause.reason})"
        cause = cause.__cause__ or cause.__context__
    return Health.DOWN, f"it cannot be reached ({str(error) or type(error).__name__})"


async def learn_models(engine: Engine) -> None:
    """Polls the models of a ready backend, and learns once what their chat templates need."""
    due = 0.0
    while True:
        engine.templates.seen(engine.server.models.values() if engine.trusted else ())
        if not engine.trusted:
            due = 0.0
        elif time.monotonic() >= due:
            due = time.monotonic() + MODELS_SECONDS
            with suppress(httpx.TransportError, OSError, ssl.SSLError, ValueError, RecursionError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    engine.listing = await _listing(engine)
        await asyncio.sleep(INTERVAL_SECONDS / 4)


async def _listing(engine: Engine) -> dict[str, Any]:
    response = await engine.transport.handle_async_request(engine.request("GET", "/models", timeout=None))
    try:
        said = json.loads(await response.aread())
    finally:
        await response.aclose()
    return said if isinstance(said, dict) else {}


class NoState(Exception):
    """The backend does not stream its state."""


async def follow(engine: Engine, after: str, report: Callable[[Seen], None]) -> None:
    """Reports the states that a backend's router streams, until the stream ends.

    :param after: the mark of the last line that was seen, or nothing.

    Raises NoState when there is no stream, TimeoutError when it is silent for too long, httpx.TransportError, and ValueError when
    it is none of ours.
    """
    request = engine.request("GET", f"{STATE_PATH}?after={after}", timeout=SILENCE_SECONDS, below_api=False)
    async with asyncio.timeout(ANSWER_SECONDS):
        response = await engine.transport.handle_async_request(request)
    try:
        if response.status_code in REFUSALS:
            report(Seen(Health.REFUSED, f"its key is refused ({response.status_code})", 0, after))
        elif response.status_code != 200:
            raise NoState
        else:
            rest = b""
            async for piece in response.aiter_raw():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    report(read_line(line, time.time()))
    finally:
        await response.aclose()


class Watcher:
    """Watches each backend of the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tasks: dict[str, tuple[Engine, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Watches the backends that are in the pool, until cancelled."""
        try:
            while True:
                self._follow()
                await asyncio.sleep(INTERVAL_SECONDS / 4)
        finally:
            for _engine, task in self._tasks.values():
                task.cancel()

    def _follow(self) -> None:
        engines = self._fleet.engines
        for name, (engine, task) in list(self._tasks.items()):
            if engines.get(name) is not engine or task.done():
                task.cancel()
                del self._tasks[name]
        for name, engine in engines.items():
            if name not in self._tasks:
                self._tasks[name] = (engine, asyncio.create_task(self._watch(engine)))

    async def _watch(self, engine: Engine) -> None:
        """Watches one backend until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(learn_models(engine))
            both.create_task(self._look_again(engine))

    async def _look_again(self, engine: Engine) -> None:
        next_try = 0.0
        while True:
            doubted = False
            if not engine.server.foreign and time.monotonic() >= next_try:
                await self._follow_state(engine)
                doubted = True  # a gateway hides the stream from whose key it does not know
                next_try = time.monotonic() + ANOTHER_TRY_SECONDS
            try:
                self._fleet.report(engine, *await look(engine, doubted or not engine.trusted))
                engine.heard = time.monotonic()
            except TimeoutError:
                # Parts of answers count as data from the backend, too.
                if not engine.trusted or time.monotonic() - engine.heard >= SILENCE_SECONDS:
                    self._fleet.report(engine, Health.DOWN, "it does not answer")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _follow_state(self, engine: Engine) -> None:
        """Follows the state stream forever; returns if there is none, such as on a server without a router."""
        after = ""
        engine.heard = time.monotonic()

        def report(seen: Seen) -> None:
            nonlocal after
            after, engine.heard = seen.mark, time.monotonic()
            self._fleet.report(engine, seen.health, seen.detail, seen.load)
            if seen.held:
                try:
                    self._fleet.believe(engine, seen.held, seen.time - time.monotonic())
                except (KeyError, TypeError, AttributeError) as error:
                    raise ValueError(f"it is not a state: {type(error).__name__}") from error

        while True:
            began = time.monotonic()
            try:
                await follow(engine, after, report)
            except NoState:
                return
            except (httpx.TransportError, OSError, ssl.SSLError, ValueError) as error:
                health, detail = _of_error(error)
                at_once = health is Health.REFUSED or isinstance(error, httpx.ConnectError)
                if at_once or time.monotonic() - engine.heard >= SILENCE_SECONDS:
                    self._fleet.report(engine, health, detail)
            # Reconnect at once after a regular end, and after a pause if the stream was short.
            await asyncio.sleep(max(0.0, began + INTERVAL_SECONDS - time.monotonic()))
