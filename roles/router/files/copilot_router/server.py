# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The router of a server, the only client of this host's llama-server.

    COPILOT_ROUTER_FILE=/etc/slm-copilot/router.json python -m uvicorn copilot_router.server:app --fd 3

The gateway names the caller's role in ``X-Copilot-Role``; nothing else can connect to its socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from . import systemd
from .access import AccessLog
from .admin import Verb, Wish, admins_only, running, to_unload, wish_at
from .answers import listed
from .conversations import marks_key
from .engine import Connection, Watch, counters
from .engine_counters import exposition
from .errors import error_body, error_object
from .forward import Carrier, Incoming, tell
from .gate import Gate
from .keeper import Keeper
from .metrics import LOADED, ServerMetrics
from .metrics import tell as tell_metrics
from .question import BadRequest, asked_at, json_object, read, refuse_compressed, unknown_model
from .recall import Recall
from .reply import ClientLeft, Message, Receive, Reply, Scope, Send, answer, headers_of, read_body, while_there
from .server_settings import ServerSettings, SettingsError, parse
from .slots import EngineFailed, Health, Refusal, Role, Slots
from .state import PATH as STATE_PATH
from .state import State
from .surface import CARRIED_PATHS, HEALTH_PATHS, METRICS_PATH, MODELS_PATH, SERVER_METRICS_PATH, TYPED_ERRORS, check_method
from .templates import Templates
from .usage import Usage, keep

logger = logging.getLogger("copilot_router")
DRAIN_PATH, RESTORED_PATH = "/router/drain", "/router/restored"
# Balancers get the first keep-alive comment earlier, so that they know its text when their own is due.
AHEAD = 0.75
LOOKS = 1 / 3  # interval of polling the progress, as a share of the interval between keep-alive comments
MAY_FOLLOW = (Role.BALANCER, Role.ADMIN)


class Service:
    """All parts together. To be made on the event loop that they run on."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        slots = Slots({name: number or 1 for name, number in settings.models.items()}, patience=settings.restart_wait)
        self.gate = Gate(slots)
        self.recall = Recall(settings.models, _marks_key(settings.marks_key_file))
        self.state = State(self._told, length=settings.state_length, beat=settings.state_beat)
        self.gate.on_change += [self._see_models, self.state.refresh]
        self.recall.on_change.append(self.state.refresh)
        self.state.refresh()
        self.connection = connection = Connection(settings.engine_socket)
        unknown = [name for name, number in settings.models.items() if not number]
        self.watch = Watch(connection, self.gate, several=settings.several, unknown=unknown)
        self.templates = Templates(connection.post, enabled=settings.histories)
        cgroup, link = (Path(one) if one else None for one in (settings.engine_cgroup, settings.engine_link))
        self.metrics = ServerMetrics(settings.models, self.gate.snapshot, self.gate.developers, cgroup, link)
        self.carrier = Carrier(
            *(connection, self.gate, self.watch, self.templates, self.recall, self.metrics), look_every=settings.signs * LOOKS
        )
        key = _text_of(settings.usage_key_file)
        self.usage = Usage(settings.usage, settings.usage_folder, settings.usage_kept, key)
        self.access_log = AccessLog(settings.access_log, key)
        self._keeper = Keeper(connection, settings.pinned, settings.renew_pinned)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Checks the engine once, then starts to watch it."""
        await self.watch.look()
        self._tasks = [
            *(asyncio.create_task(part.run()) for part in (self.watch, self._keeper)),
            asyncio.create_task(keep(lambda: self.usage)),
        ]

    async def stop(self) -> None:
        """Stops the background tasks."""
        self.templates.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.usage.tick()

    def _told(self) -> dict[str, Any]:
        """Returns the state for balancers, which recognise what is held with the key that they share with us, if there is one."""
        return {**self.gate.snapshot(), **({"held": self.recall.said()} if self.settings.marks_key_file else {})}

    def _see_models(self) -> None:
        states = self.gate.snapshot()["models"]
        self.recall.seen(states)
        self.templates.seen({model for model, state in states.items() if state in LOADED})


class App:
    """The ASGI application."""

    def __init__(self) -> None:
        self._service: Service | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, or the start and stop of the process."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            assert self._service is not None
            with suppress(ClientLeft):
                await _http(self._service, scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._service = Service(_settings())
            await self._service.start()
        except (SettingsError, ValueError, OSError) as error:
            logger.error("the router cannot start: %s", error)
            return await send({"type": "lifespan.startup.failed", "message": str(error)})
        _before_stop(self._service.state.close)
        await send({"type": "lifespan.startup.complete"})
        systemd.ready()
        await receive()
        await self._service.stop()
        return await send({"type": "lifespan.shutdown.complete"})


async def _http(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    method, path = scope["method"], scope["path"]
    headers = headers_of(scope)
    role = _role(headers.get("x-copilot-role", ""))
    wish = wish_at(path)
    try:
        check_method(method, path)
        if wish is not None and role not in MAY_FOLLOW:
            raise admins_only()
    except BadRequest as wrong:
        return await _refuse(send, wrong, path)
    if method in ("GET", "HEAD") and path in HEALTH_PATHS:
        return await _health(service, send)
    if method in ("GET", "HEAD") and path in (METRICS_PATH, SERVER_METRICS_PATH):
        return await while_there(receive, _metrics(service, headers, send))
    if (method, path) == ("GET", STATE_PATH) and role in MAY_FOLLOW:
        return await while_there(receive, _follow(service, scope, send))
    if (method, path) == ("POST", DRAIN_PATH) and role is Role.ADMIN:
        body = await read_body(receive)
        return await _act(service, headers, "drain", None, send, lambda told: _drain(service, body, told))
    if (method, path) == ("POST", RESTORED_PATH) and role is Role.ADMIN:
        return await _restored(service, await read_body(receive), send)
    if wish is not None and method != "OPTIONS":
        if wish.verb is Verb.RUNNING:
            return await _grant(service, wish, role, send)
        acting = _act(service, headers, wish.verb.value, wish.model, send, lambda told: _grant(service, wish, role, told))
        return await while_there(receive, acting)
    if path.startswith("/router/"):
        return await _refuse(send, BadRequest(404, f"There is no {method} {path} here.", "unknown_url"))
    body = await read_body(receive)
    asked = asked_at(method, path)
    try:
        refuse_compressed(headers)
        question = read(asked, body, service.settings.models) if asked else None
        if question is None and path in CARRIED_PATHS and method == "POST":
            json_object(body)  # llama-server would return 500 for invalid JSON
    except BadRequest as wrong:
        return await _refuse(send, wrong, path)
    query = scope["query_string"]
    target = (scope.get("raw_path") or path.encode()) + (b"?" + query if query else b"")
    request = Incoming(method, target, headers, body, role, question)
    if method in ("GET", "HEAD") and (path == MODELS_PATH or path.startswith(f"{MODELS_PATH}/")):
        one = path.removeprefix(MODELS_PATH).removeprefix("/")
        request = Incoming("GET", MODELS_PATH.encode(), headers, body, role, reshape=partial(_models, service, one))
    first_sign = service.settings.first_sign * (AHEAD if role is Role.BALANCER else 1)
    signs = service.settings.signs
    reply = Reply(send, first_sign=first_sign, signs=signs, typed=path in TYPED_ERRORS)
    serving = _serve(service, request, reply, waits_aloud=question is not None and question.stream)
    return await while_there(receive, serving)


async def _act(
    service: Service, headers: Mapping[str, str], what: str, model: str | None, send: Send, act: Callable[[Send], Awaitable[None]]
) -> None:
    """Carries out a change, and logs the caller. A status of 0 means that nothing was answered."""
    status = 0

    async def told(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        await act(told)
    finally:
        service.access_log.action(headers.get("x-copilot-user", ""), what, model, status)


async def _serve(service: Service, request: Incoming, reply: Reply, *, waits_aloud: bool) -> None:
    signs = asyncio.create_task(reply.keep_alive()) if waits_aloud else None
    try:
        await service.carrier.carry(request, reply)
    except BadRequest as error:
        await tell(reply, error.status, str(error), error.code)
    except Refusal as refusal:
        if request.model is not None:
            service.metrics.refused(request.model, refusal.code)
        await tell(reply, 503, str(refusal), refusal.code, [(b"retry-after", str(refusal.retry_after).encode())])
    except EngineFailed as failure:
        await tell(reply, 502, f"The engine broke off its answer: {failure}.", "engine_failed")
    except Exception as error:  # the client gets an error in the usual form; nothing of the request is logged
        logger.error("a request failed: %s", type(error).__name__)
        await tell(reply, 500, "The router had an internal error. See its log.", "internal_error")
    finally:
        if signs is not None:
            signs.cancel()
        if request.model is not None:
            service.metrics.ended(request.model, reply)
            service.usage.add(request.user, request.model, reply)
            service.access_log.request(request.user, request.model, reply)


async def _metrics(service: Service, headers: Mapping[str, str], send: Send) -> None:
    loaded = [model for model, state in service.gate.snapshot()["models"].items() if state in LOADED]
    said = await counters(service.connection, loaded, several=service.settings.several)
    await tell_metrics(send, service.metrics.text(headers) + exposition(said).encode())


async def _follow(service: Service, scope: Scope, send: Send) -> None:
    after = parse_qs(scope["query_string"].decode("latin-1")).get("after", [""])[0]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-ndjson")]})
    async for line in service.state.lines(after):
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _drain(service: Service, body: bytes, send: Send) -> None:
    try:
        seconds = json.loads(body)["seconds"]
        if isinstance(seconds, bool) or not 0 <= seconds <= service.settings.longest_drain:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        most = service.settings.longest_drain
        words = f'Send {{"seconds": N}}, with a number from 0 to {most:g}.'
        return await _refuse(send, BadRequest(400, words, "invalid_json"))
    service.gate.drain(seconds)
    return await answer(send, 200, service.gate.snapshot())


async def _restored(service: Service, body: bytes, send: Send) -> None:
    """Learns which conversations llama-server still holds after a restart."""
    try:
        said = json.loads(body)
        found = service.recall.restored(said["model"], [int(tokens) for tokens in said["tokens"]])
    except (ValueError, KeyError, TypeError):
        words = 'Send {"model": NAME, "tokens": [N, …]}, with a model of this host, and the tokens of each conversation.'
        return await _refuse(send, BadRequest(400, words, "invalid_json"))
    return await answer(send, 200, {"conversations": found})


async def _health(service: Service, send: Send) -> None:
    if service.gate.health is Health.READY:
        return await answer(send, 200, {"status": "ok"})
    words = "The engine is loading its model." if service.gate.health is Health.LOADING else "The engine is not available."
    return await _refuse(send, BadRequest(503, words, "engine_down"))


async def _grant(service: Service, wish: Wish, role: Role, send: Send) -> None:
    """Carries out an administrator's operation."""
    state = service.gate.snapshot()
    if wish.model not in (None, *state["models"]):
        return await _refuse(send, unknown_model(str(wish.model), state["models"]))
    if wish.verb is Verb.RUNNING:
        return await answer(send, 200, running(state))
    if wish.verb is Verb.WARM:  # applying the template loads the model, and computes nothing
        body = json.dumps({"model": wish.model, "messages": [{"role": "user", "content": ""}]}).encode()
        asked = {"content-type": "application/json"}
        request = Incoming("POST", b"/apply-template", asked, body, role, reshape=lambda _content: {"status": "ok"})
        reply = Reply(send, first_sign=service.settings.first_sign, signs=service.settings.signs)
        return await _serve(service, request, reply, waits_aloud=False)
    await service.watch.look()  # a model may just have been loaded
    try:
        for model in to_unload(wish, service.gate.snapshot(), service.settings.pinned):
            await service.connection.post(b"/models/unload", {"model": model})
    except ValueError as error:
        return await _refuse(send, BadRequest(409, str(error), "stays_loaded"))
    except EngineFailed as failure:
        return await _refuse(send, BadRequest(502, f"The engine did not unload it: {failure}.", "engine_failed"))
    await service.watch.look()
    return await answer(send, 200, {"msg": "ok"})


def _models(service: Service, one: str, content: bytes) -> Any:
    """Returns the list of models, or one of them. Raises BadRequest if it does not exist."""
    found = listed(content, service.gate.snapshot()["slots"])
    if not one:
        return found
    models = {model["id"]: model for model in found["data"]}
    if one not in models:
        raise unknown_model(one, models)
    return models[one]


async def _refuse(send: Send, wrong: BadRequest, path: str = "") -> None:
    error = error_object(wrong.status, str(wrong), wrong.code)
    await answer(send, wrong.status, error_body(error, typed=path in TYPED_ERRORS), wrong.headers)


def _role(text: str) -> Role:
    """Returns the caller; one without a role has the rights of a developer."""
    return Role(text) if text in set(Role) else Role.DEVELOPER


def _settings() -> ServerSettings:
    path = Path(os.environ["COPILOT_ROUTER_FILE"])
    try:
        return parse(path.read_text(encoding="utf-8"))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _marks_key(file: str) -> bytes:
    """Returns the fleet's key; where there is no fleet, one that nobody else has."""
    return marks_key(_text_of(file) if file else secrets.token_hex())


def _text_of(file: str) -> str:
    return Path(file).read_text(encoding="utf-8") if file else ""


def _before_stop(close: Any) -> None:
    """Ends the state streams when the process is stopped; otherwise they would keep it running."""
    earlier = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(close)
        if callable(earlier):
            earlier(number, frame)

    signal.signal(signal.SIGTERM, stop)


def _set_up_log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


_set_up_log()
app = App()
