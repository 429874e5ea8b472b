# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request of a client to a balancer, from its arrival until nothing more is sent to the client."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from .pool import Outcome
from .question import BadRequest, json_object, refuse_compressed, unknown_model
from .reply import Reply


class Open(Protocol):
    """Something that holds a lease."""

    def free(self, outcome: Outcome) -> None:
        """Releases it."""

    async def close(self, outcome: Outcome) -> None:
        """Releases it, and hangs up."""


@dataclass(frozen=True)
class Asked:
    """What a client wants.

    :param target: path and query.
    :param body: as it was sent.
    :param content: what the body says.
    :param model: the public name of the model.
    :param role: who asks, as the gateway says.
    """

    path: str
    target: str
    body: bytes
    content: Mapping[str, Any]
    model: str
    user: str
    role: str = ""

    @property
    def stream(self) -> bool:
        """Whether the answer shall come piece by piece."""
        return self.content.get("stream") is True

    def body_for(self, name: str) -> bytes:
        """Returns the body for a backend that calls the model so."""
        if self.content.get("model") == name:
            return self.body
        return json.dumps({**self.content, "model": name}).encode()


@dataclass(eq=False)
class Turn:
    """The progress and outcome of the request."""

    asked: Asked
    reply: Reply
    open: set[Open] = field(default_factory=set)
    begun: bool = False  # it is being forwarded to backends
    foreign: bool = False  # its last backend is outside the fleet
    status: int = 0  # of the whole answer, once all of it was sent; 0 until then
    usage: Mapping[str, Any] = field(default_factory=dict)  # tokens, as the backend counted them

    async def end(self) -> None:
        """Releases everything that the request still holds."""
        left = list(self.open)
        for attempt in left:  # release all of them before anything waits
            attempt.free(Outcome.ABANDONED)
        for attempt in left:
            await attempt.close(Outcome.ABANDONED)


current_turn: ContextVar[Turn | None] = ContextVar("current_turn", default=None)


def content_of(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Returns what a body says. Raises BadRequest.

    :param headers: of the request, with names in lower case.
    """
    refuse_compressed(headers)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest(400, "Send JSON, with 'Content-Type: application/json'.", "invalid_json")
    return json_object(body)


def model_of(content: Mapping[str, Any], models: Collection[str]) -> str:
    """Returns the model that is meant: the only one that there is where none is named. Raises BadRequest.

    :param models: the public names of all.
    """
    model = content.get("model")
    if model in (None, "") and len(models) == 1:
        return next(iter(models))
    if not isinstance(model, str) or not model:
        raise BadRequest(400, "The request names no model.", "model_missing")
    if model not in models:
        raise unknown_model(model, models)
    return model
