# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An administrator's operation on a balancer, carried out on all servers of its fleet."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import httpx

from .admin import Told, Verb, Wish, merged, path_of
from .errors import error_in
from .fleet import Engine, Fleet
from .pool import Health
from .question import BadRequest, unknown_model

# Seconds of silence; loading a model has no time limit.
PATIENCE = {Verb.RUNNING: 5.0, Verb.UNLOAD: 60.0, Verb.WARM: None}
AWAY = (Health.DOWN, Health.REFUSED)
LOOK_SECONDS = 0.5


async def grant(fleet: Fleet, wish: Wish, user: str) -> tuple[int, dict[str, Any]]:
    """Hands a wish to all servers that it is about and returns status and content of the answer. Raises BadRequest.

    Backends outside the fleet have no such API, and are left out.
    """
    if wish.model is not None and wish.model not in fleet.settings.models:
        raise unknown_model(wish.model, fleet.settings.models)
    engines = [one for one in fleet.engines.values() if not one.server.foreign and wish.model in (None, *one.server.models)]
    if not engines and wish.verb is not Verb.RUNNING:
        raise BadRequest(
            409, "No server of this fleet has this model: backends outside the fleet manage their own models.", "stays_loaded"
        )
    told = await asyncio.gather(*(_ask(fleet, engine, wish, user) for engine in engines))
    status, content = merged(wish, told)
    if not content:
        reasons = "; ".join(f"{one.server}: {one.words}" for one in told)
        raise BadRequest(503, f"No server could be asked. {reasons}", "engine_down")
    return status, content


async def _ask(fleet: Fleet, engine: Engine, wish: Wish, user: str) -> Told:
    """Sends the operation to one server, and gives up when the server is down."""
    asking = asyncio.create_task(_answer(engine, wish, user))
    try:
        while not asking.done():
            if reason := _why_away(fleet, engine):
                return _told(engine, 0, words=reason)
            await asyncio.wait({asking}, timeout=LOOK_SECONDS)
        return asking.result()
    finally:
        asking.cancel()


async def _answer(engine: Engine, wish: Wish, user: str) -> Told:
    method = wish.verb.methods[0]
    path = path_of(replace(wish, model=engine.server.models[wish.model]) if wish.model else wish)
    request = engine.request(method, path, timeout=PATIENCE[wish.verb], below_api=False, user=user)
    try:
        response = await engine.transport.handle_async_request(request)
        try:
            content = await response.aread()
        finally:
            await response.aclose()
    except (httpx.TransportError, OSError, ssl.SSLError) as failure:
        return _told(engine, 0, words=f"it cannot be reached ({str(failure) or type(failure).__name__})")
    if response.status_code == 200:
        return _told(engine, 200, json.loads(content))
    error = error_in(response.status_code, content)
    return _told(engine, response.status_code, error, str(error["message"]))


def _told(engine: Engine, status: int, content: Mapping[str, Any] = MappingProxyType({}), words: str = "ok") -> Told:
    return Told(engine.server.id, {there: name for name, there in engine.server.models.items()}, status, content, words)


def _why_away(fleet: Fleet, engine: Engine) -> str:
    """Returns why a server is skipped; empty if it is not."""
    seen = {one["id"]: one for one in fleet.pool.snapshot(time.monotonic())}.get(engine.server.id)
    if seen is None:
        return "it has left the pool"
    return str(seen["detail"] or seen["health"]) if seen["health"] in AWAY else ""
