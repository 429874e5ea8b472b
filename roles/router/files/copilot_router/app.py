# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service of a balancer: LiteLLM's proxy on top of our pool.

    python -m uvicorn copilot_router.app:app --fd 3

It serves only the paths that developers need. Environment variables name the files: CONFIG_FILE_PATH (LiteLLM's own variable),
COPILOT_POOL_FILE, COPILOT_BACKEND_KEYS_FILE and COPILOT_STATE_FILE.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

import httpx

# LiteLLM reads these when it is imported. It does not start without a master key, which is random here: nothing reachable
# accepts it, and nobody knows it.
os.environ.update(
    LITELLM_MASTER_KEY="sk-" + secrets.token_urlsafe(32),
    LITELLM_LOCAL_MODEL_COST_MAP="True",  # otherwise it downloads a file at startup
    DISABLE_ADMIN_UI="True",
    NO_DOCS="True",
    NO_REDOC="True",
    NO_OPENAPI="True",
)

import litellm
from litellm.proxy.proxy_server import app as proxy

from . import logs, systemd
from .admin import Verb, Wish, admins_only, wish_at
from .balancer import Balancer, refusal, refused, tell
from .everywhere import grant
from .fleet import Fleet
from .metrics import tell as tell_metrics
from .question import BadRequest
from .reply import ClientLeft, Headers, Message, Receive, Reply, Scope, Send, answer, headers_of, read_body, while_there
from .slots import Role
from .surface import (
    BALANCER_METRICS_PATH,
    CARRIED_PATHS,
    HEALTH_PATHS,
    METRICS_PATH,
    MODELS_PATH,
    SERVER_METRICS_PATH,
    TYPED_ERRORS,
    check_method,
    cors_headers,
    listing,
    methods_of,
)
from .through_litellm import EMPTY as THROUGH_LITELLM
from .through_litellm import Connection, follow_models, through
from .turn import Asked, Turn, content_of, model_of
from .usage import keep
from .watcher import Watcher

logger = logging.getLogger("copilot_router")
FIRST_LOOK_SECONDS = 3.0


class Service:
    """An ASGI application around LiteLLM's."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._balancer = Balancer(fleet)
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection's request, or the start and stop of the process."""
        if scope["type"] == "lifespan":
            await proxy(scope, receive, lambda message: self._lifespan(message, send))
        elif scope["type"] == "http":
            with suppress(ClientLeft):
                await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, message: Message, send: Send) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                await self._start()
                self._fleet.serve()
                systemd.ready()
            except Exception as error:
                logger.error("the service cannot start: %s", error)
                message = {"type": "lifespan.startup.failed", "message": str(error)}
        elif message["type"].startswith("lifespan.shutdown"):
            for task in self._tasks:
                task.cancel()
            self._fleet.usage.tick()
        await send(message)

    async def _start(self) -> None:
        litellm.aclient_session = httpx.AsyncClient(transport=Connection(self._balancer), timeout=None)
        self._fleet.on_change.append(follow_models)
        self._fleet.load()
        self._tasks = [asyncio.create_task(Watcher(self._fleet).run()), asyncio.create_task(self._fleet.run())]
        self._tasks.append(asyncio.create_task(keep(lambda: self._fleet.usage)))
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                while not self._fleet.ready:
                    await asyncio.sleep(0.05)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = headers_of(scope)
        preflight = method == "OPTIONS"
        cors = cors_headers(self._fleet.settings.cors_origins, headers.get("origin", ""), preflight=preflight)
        send = _with_headers(send, cors)
        if preflight:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            return await send({"type": "http.response.body", "body": b""})
        try:
            _check(method, path)
            if path in HEALTH_PATHS:
                return await self._health(send)
            if path in (METRICS_PATH, BALANCER_METRICS_PATH):
                return await tell_metrics(send, self._fleet.metrics.text(headers))
            user = _user(headers)
            if (wish := wish_at(path)) is not None:
                if headers["x-copilot-role"] != Role.ADMIN:
                    raise admins_only()
                return await while_there(receive, self._grant(wish, user, send))
            if path not in CARRIED_PATHS:
                return await self._models(path.removeprefix(MODELS_PATH).removeprefix("/"), send)
            body = await read_body(receive)
            content = content_of(headers, body)
            query = scope["query_string"].decode("latin-1")
            target, role = f"{path}?{query}" if query else path, headers["x-copilot-role"]
            asked = Asked(path, target, body, content, model_of(content, self._fleet.settings.models), user, role)
        except BadRequest as wrong:
            reply = Reply(send, first_sign=0, signs=0, typed=path in TYPED_ERRORS)
            return await tell(reply, refused(wrong))
        times = self._fleet.settings
        typed = path in TYPED_ERRORS
        turn = Turn(asked, Reply(send, first_sign=times.first_sign, signs=times.signs, typed=typed))
        return await while_there(receive, self._serve(turn, scope), complete=lambda: bool(turn.status))

    async def _serve(self, turn: Turn, scope: Scope) -> None:
        try:
            await self._answer(turn, scope)
        finally:
            self._fleet.metrics.ended(turn.asked.model, turn.reply)
            if turn.foreign:  # the fleet's own servers record their usage themselves
                self._fleet.usage.add(turn.asked.user, turn.asked.model, turn.reply)
            self._fleet.access_log.request(turn.asked.user, turn.asked.model, turn.reply)

    async def _answer(self, turn: Turn, scope: Scope) -> None:
        signs = asyncio.create_task(turn.reply.keep_alive()) if turn.asked.stream else None
        try:
            if turn.asked.path in THROUGH_LITELLM:
                await through(turn, scope)
            else:
                await self._balancer.carry(turn)
        except Exception as error:  # the client gets an error in the usual form; nothing of the request is logged
            logger.error("a request failed: %s", type(error).__name__)
        finally:
            if signs is not None:
                signs.cancel()
            await turn.end()
        if not turn.status:
            await tell(turn.reply, refusal(500, "The balancer had an internal error. See its log.", code="internal_error"))

    async def _health(self, send: Send) -> None:
        if self._fleet.ready:
            return await answer(send, 200, {"status": "ok"})
        return await tell(Reply(send, first_sign=0, signs=0), refusal(503, "No backend is ready.", 1, "engine_down"))

    async def _grant(self, wish: Wish, user: str, send: Send) -> None:
        """Carries out an administrator's operation."""
        status = 0
        try:
            status, content = await grant(self._fleet, wish, user)
        except BadRequest as wrong:
            status = wrong.status
            return await tell(Reply(send, first_sign=0, signs=0), refused(wrong))
        finally:
            if wish.verb is not Verb.RUNNING:
                self._fleet.access_log.action(user, wish.verb.value, wish.model, status)
        return await answer(send, status, content)

    async def _models(self, name: str, send: Send) -> None:
        models = self._fleet.settings.models
        found = listing(models, [(engine.server.models, engine.listing) for engine in self._fleet.engines.values()])
        if name:
            model_of({"model": name}, models)
            found = next(one for one in found["data"] if one["id"] == name)
        await answer(send, 200, found)


def _check(method: str, path: str) -> None:
    """Raises BadRequest for a path or method that does not exist."""
    if not methods_of(path) or path == SERVER_METRICS_PATH:
        raise BadRequest(404, f"There is no {method} {path} here.", "unknown_url")
    check_method(method, path)


def _user(headers: dict[str, str]) -> str:
    """Returns the caller that the gateway names. Raises BadRequest if it names none."""
    user = headers.get("x-copilot-user", "")
    if not user or headers.get("x-copilot-role") not in set(Role):
        words = "The request names no user: send your key to the gateway, as 'Authorization: Bearer KEY'."
        raise BadRequest(401, words, "invalid_api_key")
    return user


def _with_headers(send: Send, headers: Headers) -> Send:
    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return send_on


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
