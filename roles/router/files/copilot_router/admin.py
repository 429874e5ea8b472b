# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-swap's HTTP API, by which administrators see, load and unload models. Pure: what is asked, and what is answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

UNLOAD_PATH = "/api/models/unload"
STATES = {"loaded": "ready", "sleeping": "ready", "loading": "starting"}  # ours -> llama-swap's


class Verb(StrEnum):
    """What an administrator wants."""

    RUNNING = "running"
    UNLOAD = "unload"
    WARM = "warm"


@dataclass(frozen=True)
class Wish:
    """A request of llama-swap's API.

    :param model: which model; None: all of them.
    """

    verb: Verb
    model: str | None = None


def wish_of(method: str, path: str) -> Wish | None:
    """Returns what is asked for, None if it is no request of this API."""
    if method in ("GET", "HEAD"):
        if path == "/running":
            return Wish(Verb.RUNNING)
        model = path.removeprefix("/upstream/").removesuffix("/health")
        if model and path == f"/upstream/{model}/health":
            return Wish(Verb.WARM, model)
    if method == "POST":
        if path == UNLOAD_PATH:
            return Wish(Verb.UNLOAD)
        if (model := path.removeprefix(f"{UNLOAD_PATH}/")) and model != path:
            return Wish(Verb.UNLOAD, model)
    return None


def running(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the models that are loaded or about to be, and what they work on.

    :param state: what balancers are told.
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
    """Returns the models to unload: the one that is named, or all but pinned ones. Raises ValueError, with words for people."""
    if len(state["models"]) == 1:
        raise ValueError("This host has one model, which stays loaded.")
    if wish.model in pinned:
        raise ValueError(f"{wish.model} is pinned: it stays loaded.")
    there = [name for name, value in state["models"].items() if value in STATES and name not in pinned]
    return there if wish.model is None else [name for name in there if name == wish.model]
