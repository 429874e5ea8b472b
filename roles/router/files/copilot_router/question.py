# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of a request that the router of a server must know."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .reply import Headers

# Paths for which llama-server needs a slot, without the optional prefixes.
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
# Paths that must match exactly: some paths below them need no slot, such as counting tokens.
PREFIXES = ("/v1", "")


class BadRequest(Exception):
    """An invalid request. The message and the headers are for the client."""

    def __init__(self, status: int, message: str, code: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


@dataclass(frozen=True)
class Question:
    """What the router knows of a request that needs a slot.

    :param path: without its prefix.
    :param content: the body.
    """

    path: str
    model: str
    stream: bool
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)


def asked_at(method: str, path: str) -> str | None:
    """Returns the path without its prefix, of a request for which llama-server needs a slot; None of others."""
    paths = (path.removeprefix(prefix) for prefix in PREFIXES if path.startswith(prefix))
    return next((one for one in paths if method == "POST" and one in SLOT_PATHS), None)


def read(path: str, body: bytes, models: Collection[str]) -> Question:
    """Reads the body of a request that needs a slot. Raises BadRequest.

    :param models: the names of this server's models. One alone answers to every name, as llama-server does.
    """
    content = json_object(body)
    if path == "/completions" and content.get("suffix"):
        message = "suffix is ignored here: for infilling, POST input_prefix and input_suffix to /infill."
        raise BadRequest(400, message, "unsupported_parameter")
    if path == "/messages":
        _check_messages(content.get("messages"))
    stream = content.get("stream") is True
    if len(models) == 1:
        return Question(path, next(iter(models)), stream, content)
    model = content.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest(400, "The request names no model.", "model_missing")
    if model not in models:
        raise unknown_model(model, models)
    return Question(path, model, stream, content)


def _check_messages(messages: Any) -> None:
    """Raises BadRequest for what llama-server would drop without a word at Anthropic's interface."""
    if not isinstance(messages, list):
        raise BadRequest(400, "messages must be a list: send the conversation in it.", "invalid_history")
    if any(block.get("type") == "document" for message in messages for block in _blocks(message)):
        raise BadRequest(400, "Models here do not read documents: send the text.", "input_not_supported")


def _blocks(of: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the blocks of a message, and those in its tools' results."""
    content = of.get("content") if isinstance(of, dict) else None
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            yield from _blocks(block)


def unknown_model(model: str, models: Collection[str]) -> BadRequest:
    """Returns the error for an unknown model."""
    return BadRequest(
        404, f"The model {model!r} does not exist. There is: {', '.join(sorted(models)) or 'none yet'}.", "model_not_found"
    )


def refuse_compressed(headers: Mapping[str, str]) -> None:
    """Raises BadRequest for a body in an unsupported encoding.

    :param headers: of the request, with names in lower case.
    """
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadRequest(415, "Compressed bodies are not supported: send the body uncompressed.", "unsupported_content_encoding")


def json_object(body: bytes) -> dict[str, Any]:
    """Reads JSON as strictly as llama-server does. Raises BadRequest when it is no object."""
    try:
        content = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadRequest(400, "The body is not valid JSON in UTF-8.", "invalid_json") from None
    if not isinstance(content, dict):
        raise BadRequest(400, "The body must be a JSON object.", "invalid_json")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
