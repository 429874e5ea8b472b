# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Errors in the form of OpenAI's API, whoever sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ERROR = b'data: {"error"'  # start of an error event, here and in llama-server
UNREADABLE = "unreadable_answer"  # the model's output does not match its template


def error_object(status: int, message: str, code: str | None = None) -> dict[str, str | None]:
    """What OpenAI's API puts under ``error``."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"message": message, "type": kind, "param": None, "code": code or str(status)}


def error_in(status: int, content: bytes) -> dict[str, Any]:
    """Returns the error in an answer, completed with the missing fields of OpenAI's API; an error of ours if it has none.

    :param status: of the answer, 400 or more.
    """
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        error = None
    ours = error_object(status, f"The answer was {status}, without a reason.")
    if isinstance(error, str):
        return {**ours, "message": error}
    return {**ours, **error} if isinstance(error, dict) else dict(ours)


def error_body(error: Any, *, typed: bool = False) -> dict[str, Any]:
    """Returns an error as an answer.

    :param typed: it says what it is, too, as Anthropic's clients and those of OpenAI's newer interface expect.
    """
    return {"error": error, **({"type": "error"} if typed else {})}


def error_event(error: Any, *, typed: bool = False) -> bytes:
    """Returns an error as the last event of a stream that has begun."""
    return (b"event: error\n" if typed else b"") + b"data: " + json.dumps(error_body(error, typed=typed)).encode() + b"\n\n"


def is_error_event(piece: bytes) -> bool:
    """Returns whether an event of this piece of a stream, which holds whole ones, is an error."""
    return piece.startswith(ERROR) or b"\n" + ERROR in piece


def error_of_event(piece: bytes) -> dict[str, Any]:
    """Returns the error of a piece for which ``is_error_event`` holds; an empty one when it cannot be read."""
    line = next(line for line in piece.splitlines() if line.startswith(ERROR))
    try:
        error = json.loads(line.removeprefix(b"data:"))["error"]
    except ValueError:
        return {}
    return error if isinstance(error, dict) else {}


def status_of(error: Mapping[str, Any]) -> int:
    """Returns the HTTP status that an error would have had as an answer."""
    code = str(error.get("code", ""))
    if code == UNREADABLE:
        return 500
    if code.isdecimal() and 400 <= int(code) <= 599:
        return int(code)
    return 400 if error.get("type") == "invalid_request_error" else 503


def is_of_the_model(error: Mapping[str, Any] | None) -> bool:
    """Returns whether the model caused an error, so that the backend is healthy and a retry elsewhere would not help."""
    return error is not None and error.get("code") == UNREADABLE
