# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-swap's HTTP API, by which administrators see, load and unload models. Pure: what is asked, and what is answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from .question import BadRequest

UNLOAD_PATH = "/api/models/unload"
STATES = {"loaded": "ready", "sleeping": "ready", "loading": "starting"}  # ours -> llama-swap's


class Verb(StrEnum):
    """An administrator's operation."""

    RUNNING = "running"
    UNLOAD = "unload"
    WARM = "warm"

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods of the operation."""
        return ("POST",) if self is Verb.UNLOAD else ("GET", "HEAD")


@dataclass(frozen=True)
class Wish:
    """A request of llama-swap's API.

    :param model: which model; None: all of them.
    """

    verb: Verb
    model: str | None = None


def wish_at(path: str) -> Wish | None:
    """Returns the operation of a path; None if the path is not part of this API."""
    if path == "/running":
        return Wish(Verb.RUNNING)
    if path == UNLOAD_PATH:
        return Wish(Verb.UNLOAD)
    model = path.removeprefix("/upstream/").removesuffix("/health")
    if model and path == f"/upstream/{model}/health":
        return Wish(Verb.WARM, model)
    if (model := path.removeprefix(f"{UNLOAD_PATH}/")) and model != path:
        return Wish(Verb.UNLOAD, model)
    return None


def path_of(wish: Wish) -> str:
    """Returns the encoded path of the operation."""
    model = quote(wish.model or "", safe="")
    if wish.verb is Verb.WARM:
        return f"/upstream/{model}/health"
    if wish.verb is Verb.RUNNING:
        return "/running"
    return f"{UNLOAD_PATH}/{model}" if model else UNLOAD_PATH


def admins_only() -> BadRequest:
    """Returns the error for everybody else."""
    return BadRequest(403, "This is for administrators: users with admin set to true.", "admin_only")


def running(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the loaded and loading models, with their in-flight requests.

    :param state: the state for balancers.
    """
    models = {name: STATES[value] for name, value in state["models"].items() if value in STATES}
    busy, queued = state["busy"], state["queued"]
    return {
        "running": [
            {"id": name, "model": name, "state": value, "requests": busy[name], "waiting": queued[name]}
            for name, value in models.items()
        ]
    }


def to_unload(wish: Wish, state: Mapping[str, Any], pinned: Collection[str]) -> list[str]:
    """Returns the models to unload: the named one, or all except pinned ones. Raises ValueError with a message for people."""
    if len(state["models"]) == 1:
        raise ValueError("This host has one model, which stays loaded.")
    if wish.model in pinned:
        raise ValueError(f"{wish.model} is pinned: it stays loaded.")
    there = [name for name, value in state["models"].items() if value in STATES and name not in pinned]
    return there if wish.model is None else [name for name in there if name == wish.model]


@dataclass(frozen=True)
class Told:
    """A server's answer to an operation.

    :param models: its models, by their names there: the names by which clients know them.
    :param status: of its answer; 0: there was none.
    :param content: of the answer; of one that refuses, what OpenAI's API puts under ``error``.
    :param words: for people, why it did not do it.
    """

    server: str
    models: Mapping[str, str]
    status: int
    content: Mapping[str, Any] = field(default_factory=dict)
    words: str = "ok"


def merged(wish: Wish, told: Sequence[Told]) -> tuple[int, dict[str, Any]]:
    """Returns status and content of one answer for what several servers said.

    One that is away does not spoil it, and is named. When nobody did it, it is the first error that was told; 503 without content
    when nobody said anything.
    """
    done = [one for one in told if one.status == 200]
    if wish.verb is Verb.RUNNING:
        return 200, {"running": _running_anywhere(done), "away": {one.server: one.words for one in told if one not in done}}
    away = {one.server: one.words for one in told if one.status == 0}
    refused = [one for one in told if one.status not in (0, 200)]
    if refused and not done:
        return refused[0].status, {"error": refused[0].content}
    if not done:
        return 503, {}
    head = {"msg": "ok"} if wish.verb is Verb.UNLOAD else {"status": "ok"}
    return 200, {**head, "servers": {one.server: one.words for one in told if one.status}, "away": away}


def _running_anywhere(told: Sequence[Told]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in told:
        for entry in one.content["running"]:
            name = one.models.get(entry["model"], entry["model"])
            whole = found.setdefault(name, {"id": name, "model": name, "state": "", "requests": 0, "waiting": 0, "servers": {}})
            whole["state"] = entry["state"] if whole["state"] != "ready" else "ready"
            whole["requests"] += entry["requests"]
            whole["waiting"] += entry["waiting"]
            whole["servers"][one.server] = entry["state"]
    return list(found.values())
