# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-server behind its Unix socket: asked, and looked at."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import httpx

from . import unix
from .answers import prompts_in
from .gate import Gate
from .slots import EngineFailed, Health

CONNECT_SECONDS = 5.0
LOOK_SECONDS = 5.0  # timeout of a poll
READY_PAUSE, OTHER_PAUSE = 1.0, 0.25  # between two polls
# A llama-server that sends data every second does not notice that a client disconnected before its answer started.
NOTICE_SECONDS, LEAVING_PAUSE = 0.05, 1.5
SILENCE_SECONDS = 10.0  # without an answer, until it is down: a busy host can be slow for a while
PARALLEL = re.compile(r"(?m)^\s*parallel\s*=\s*([1-9][0-9]*)\s*$")


class Connection:
    """The connection to llama-server, one for each request: closing it makes llama-server stop."""

    def __init__(self, path: str) -> None:
        self._transport = unix.Transport(path)

    @asynccontextmanager
    async def ask(
        self, method: str, target: bytes, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AsyncIterator[httpx.Response]:
        """Sends a request and yields the answer, of which only the head has come. Raises EngineFailed.

        :param target: path and query, as the client wrote them.
        """
        url = httpx.URL(scheme="http", host="localhost", raw_path=target)
        times = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
        head = {"accept-encoding": "identity", **(headers or {})}
        request = httpx.Request(method, url, headers=head, content=body, extensions={"timeout": times})
        with _failures():
            response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            with suppress(httpx.TransportError, OSError, RuntimeError):
                await response.aclose()

    async def post(self, target: bytes, content: Any) -> tuple[int, bytes]:
        """Returns status and content of the answer to a request in JSON. Raises EngineFailed."""
        async with self.ask("POST", target, {"content-type": "application/json"}, json.dumps(content).encode()) as answer:
            return answer.status_code, b"".join([piece async for piece in pieces(answer)])

    async def get(self, path: str) -> tuple[int, bytes]:
        """Returns status and content. Raises EngineFailed, and TimeoutError when it takes too long."""
        async with asyncio.timeout(LOOK_SECONDS), self.ask("GET", path.encode()) as answer:
            return answer.status_code, b"".join([piece async for piece in pieces(answer)])


class _failures:
    """Turns httpx's errors into EngineFailed."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            raise EngineFailed(str(error) or "it is not there", reached=False) from error
        if isinstance(error, httpx.TransportError):
            raise EngineFailed(str(error) or type(error).__name__, reached=True) from error


async def pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Yields the content as it comes. Raises EngineFailed when it breaks off."""
    with _failures():
        async for piece in answer.aiter_raw():
            yield piece


async def counters(connection: Connection, loaded: Sequence[str], *, several: bool) -> dict[str, str]:
    """Returns model -> what llama-server says at ``/metrics``, without the models of which it says nothing.

    That loads none, wakes none that sleeps, and does not keep one awake.

    :param loaded: the models to ask about.
    :param several: llama-server is a router between models.
    """

    async def one(model: str) -> tuple[int, bytes]:
        query = f"?{urlencode({'model': model, 'autoload': 'false'})}" if several else ""
        try:
            return await connection.get(f"/metrics{query}")
        except (EngineFailed, TimeoutError):
            return 0, b""

    answers = await asyncio.gather(*map(one, loaded))
    return {
        model: content.decode(errors="replace") for model, (status, content) in zip(loaded, answers, strict=True) if status == 200
    }


class Watch:
    """Polls llama-server, and reports its health to the gate.

    :param several: it is a router between models, which it is asked about as well.
    :param unknown: models whose number of slots is to be learnt from it.
    """

    def __init__(self, connection: Connection, gate: Gate, *, several: bool, unknown: list[str]) -> None:
        self._connection, self._gate = connection, gate
        self._several, self._unknown = several, unknown
        self._heard = 0.0  # time of its last answer, in seconds of time.monotonic()

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            self._gate.left.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._gate.left.wait()
                    await asyncio.sleep(NOTICE_SECONDS)

    def _pause(self) -> float:
        if self._gate.health is not Health.READY:
            return OTHER_PAUSE
        return LEAVING_PAUSE if self._gate.leaving else READY_PAUSE

    async def look(self) -> None:
        """Polls once."""
        try:
            status, _content = await self._connection.get("/health")
            ready = status == 200
            self._heard = time.monotonic()
            known = await self._details() if ready and (self._several or self._unknown) else ({}, {})
            self._gate.engine(Health.READY if ready else Health.LOADING, *known)
            await self._see_off()
        except TimeoutError:
            if time.monotonic() - self._heard >= SILENCE_SECONDS:
                self._gate.engine(Health.DOWN)
        except EngineFailed:
            self._gate.engine(Health.DOWN)

    async def _see_off(self) -> None:
        """Asks whether llama-server still works for clients that are gone."""
        for name in self._gate.leaving:
            status, content = await self._connection.get(self._slots_of(name))
            self._gate.working(name, processing(content) if status == 200 else 0)

    def _slots_of(self, name: str) -> str:
        return f"/slots?{urlencode({'model': name, 'autoload': 'false'})}" if self._several else "/slots"

    async def prompts(self, name: str) -> list[int]:
        """Returns how many tokens are done of each prompt that is computed for a model. It may take as long as a batch of tokens
        does. Raises EngineFailed.
        """
        async with self._connection.ask("GET", self._slots_of(name).encode()) as answer:
            return prompts_in(b"".join([piece async for piece in pieces(answer)]))

    async def count(self, path: str, body: bytes) -> int:
        """Returns how many tokens a prompt has; 0 if llama-server does not say. Raises EngineFailed.

        :param path: where it counts them.
        :param body: of the request with that prompt.
        """
        async with self._connection.ask("POST", path.encode(), {"content-type": "application/json"}, body) as answer:
            content = b"".join([piece async for piece in pieces(answer)])
        try:
            return int(json.loads(content)["input_tokens"])
        except (ValueError, KeyError, TypeError):
            return 0

    async def _details(self) -> tuple[dict[str, str], dict[str, int]]:
        """Returns the states of the models, and slots where they are to be learnt."""
        _status, content = await self._connection.get("/models" if self._several else "/props")
        try:
            found = json.loads(content)
            if self._several:
                return states_of(found), {name: slots for name, slots in slots_of(found).items() if name in self._unknown}
            return {}, dict.fromkeys(self._unknown, max(1, int(found["total_slots"])))
        except (KeyError, TypeError, ValueError):
            return {}, {}


def processing(content: bytes) -> int:
    """Returns how many slots work, of what llama-server says at ``/slots``; 0 if it says something else."""
    try:
        return sum(bool(slot["is_processing"]) for slot in json.loads(content))
    except (ValueError, KeyError, TypeError):
        return 0


def states_of(found: Any) -> dict[str, str]:
    """Returns model -> state, of what llama-server's router says at ``/models``."""
    return {str(one["id"]): str(one["status"]["value"]) for one in found["data"]}


def slots_of(found: Any) -> dict[str, int]:
    """Returns model -> slots, of the presets that llama-server's router shows at ``/models``."""
    matches = {str(one["id"]): PARALLEL.search(str(one["status"].get("preset", ""))) for one in found["data"]}
    return {name: int(match[1]) for name, match in matches.items() if match}
