# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a request asks for, as far as the router of a server must know."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

# What llama-server computes in a slot, without the prefixes that it takes before some of them.
SLOT_PATHS = frozenset(
    {
        "/chat/completions",
        "/completion",
        "/completions",
        "/embedding",
        "/embeddings",
        "/infill",
        "/messages",
        "/rerank",
        "/reranking",
        "/responses",
    }
)
# Paths of which only the whole is a question: below some of them lies what needs no slot, such as counting tokens.
PREFIXES = ("/v1", "")


class BadRequest(Exception):
    """A request is not one. The text is for the client."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Question:
    """What the router knows of a request that needs a slot."""

    model: str
    stream: bool


def needs_slot(method: str, path: str) -> bool:
    """Returns whether llama-server needs a slot for it."""
    return method == "POST" and any(path.removeprefix(prefix) in SLOT_PATHS for prefix in PREFIXES if path.startswith(prefix))


def read(body: bytes, models: Collection[str]) -> Question:
    """Reads the body of a request that needs a slot. Raises BadRequest.

    :param models: the names of this server's models. One alone answers to every name, as llama-server does.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest(400, "The body is not valid JSON.", "invalid_json") from None
    if not isinstance(content, dict):
        raise BadRequest(400, "The body must be a JSON object.", "invalid_json")
    stream = content.get("stream") is True
    if len(models) == 1:
        return Question(next(iter(models)), stream)
    model = content.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest(400, "The request names no model.", "model_missing")
    if model not in models:
        raise BadRequest(404, f"The model {model!r} does not exist. There is: {', '.join(sorted(models))}.", "model_not_found")
    return Question(model, stream)
