# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service: LiteLLM's proxy with our pool under it.

    python -m uvicorn copilot_router.app:app --fd 3

Only what developers need is answered. The environment says where the files are: CONFIG_FILE_PATH (LiteLLM's own variable),
COPILOT_POOL_FILE, COPILOT_BACKEND_KEYS_FILE and COPILOT_STATE_FILE.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

# LiteLLM reads these when it is imported. The master key, without which it does not start, opens nothing that can be reached
# from here; nobody knows it.
os.environ.update(
    LITELLM_MASTER_KEY="sk-" + secrets.token_urlsafe(32),
    LITELLM_LOCAL_MODEL_COST_MAP="True",  # or it asks the internet at start
    DISABLE_ADMIN_UI="True",
    NO_DOCS="True",
    NO_REDOC="True",
    NO_OPENAPI="True",
)

import litellm
from litellm.proxy.proxy_server import app as proxy

from . import logs
from .callbacks import follow_models
from .errors import error_object
from .fleet import Fleet
from .transport import Balancer, Turn, current_turn
from .watcher import Watcher

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("copilot_router")
FIRST_LOOK_SECONDS = 3.0

# What passes to LiteLLM. Nothing else of it can be reached.
ROUTES = {
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
}


class Service:
    """An ASGI application around LiteLLM's."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handles one connection's request, or the start and stop of the process."""
        if scope["type"] == "lifespan":
            await proxy(scope, receive, lambda message: self._lifespan(message, send))
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, message: Message, send: Send) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                await self._start()
            except Exception as error:
                logger.error("the service cannot start: %s", error)
                message = {"type": "lifespan.startup.failed", "message": str(error)}
        elif message["type"].startswith("lifespan.shutdown"):
            for task in self._tasks:
                task.cancel()
        await send(message)

    async def _start(self) -> None:
        litellm.aclient_session = httpx.AsyncClient(transport=Balancer(self._fleet), timeout=None)
        self._fleet.on_change.append(follow_models)
        self._fleet.load()
        self._tasks = [asyncio.create_task(Watcher(self._fleet).run()), asyncio.create_task(self._fleet.run())]
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                while not self._fleet.ready:
                    await asyncio.sleep(0.05)

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD") and path in ("/health", "/v1/health"):
            if self._fleet.ready:
                return await _answer(send, 200, {"status": "ok"})
            return await _answer(send, 503, {"error": error_object(503, "no backend is ready")})
        if (method, path) not in ROUTES:
            return await _answer(send, 404, {"error": error_object(404, f"There is no {method} {path} here.")})
        turn = Turn()
        token = current_turn.set(turn)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 503 and turn.retry_after:
                message["headers"] = [*message["headers"], (b"retry-after", str(turn.retry_after).encode())]
            await send(message)

        try:
            await proxy(scope, receive, send_on)
        finally:
            current_turn.reset(token)
            await turn.end()
        return None


async def _answer(send: Send, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _service() -> Service:
    logs.set_up(logger)
    state = os.environ.get("COPILOT_STATE_FILE")
    return Service(
        Fleet(
            Path(os.environ["COPILOT_POOL_FILE"]),
            Path(os.environ["COPILOT_BACKEND_KEYS_FILE"]),
            Path(state) if state else None,
        )
    )


app = _service()
