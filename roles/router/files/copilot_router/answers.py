# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-server's answers in the form of OpenAI's API: its errors, its list of models, and the progress of prompts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from .errors import UNREADABLE, error_event, error_object, is_error_event

NAMED = b"event: error\n"
EXCEPTION = re.compile(r"\[json\.exception\.[^]]*\] ")  # of llama-server's own code
TOO_LONG = "exceed_context_size_error"
# Errors of the request for which llama-server returns 500: pattern of its message, a code, and the message for the client.
BLAMED: tuple[tuple[str, str, str], ...] = (
    (
        r"(?P<said>image|audio|video) input is not supported",
        "input_not_supported",
        "This model does not support {} input: leave it out, or choose a model that does.",
    ),
    (
        r".*?JSON schema (?:error at|conversion failed:)\s*(?P<said>.*)",
        "invalid_schema",
        "A JSON schema in the request cannot be converted to a grammar: {}. Correct it in tools or response_format.",
    ),
    (
        r"unsupported content\[\]\.type",
        "input_not_supported",
        "A part of a message has an unsupported type: send text, or another type that this model supports.",
    ),
    (r"\[json\.exception\.parse_error", "invalid_json", "The body is not valid JSON in UTF-8."),
    (r"\[json\.exception\.[^]]*\] (?P<said>.*)", "invalid_value", "A value in the body has the wrong type: {}."),
    (r"Field (?P<said>'.*)", "invalid_value", "A value in the body is wrong: {}."),
    (
        r"\s.*\nError: (?:Jinja Exception: )?(?P<said>[^\n]*)",
        "template_refused",
        "This model's chat template rejects the request: {}. Change it, or choose another model.",
    ),
    (
        r"(?P<said>Failed to parse (?:messages|tools):[^;\n]*"
        r"|(?:Failed to download|Only no echo|Unsupported |Cannot |Invalid base64|['\"]\w+['\"] is required)[^\n]*)",
        "invalid_request",
        "{}.",
    ),
)


def error_of(status: int, content: bytes, asked: str) -> tuple[int, dict[str, Any]]:
    """Returns the status and the error that a client gets.

    :param status: of llama-server's answer, 400 or more.
    :param content: of it: JSON, text or nothing.
    :param asked: method and path, for who asked for what is not there.
    """
    try:
        said = json.loads(content)["error"]
        return refined(status, said if isinstance(said, dict) else {"message": said}, asked)
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace").strip()
        return refined(status, {"message": text}, asked)


def refined(status: int, said: Mapping[str, Any], asked: str = "") -> tuple[int, dict[str, Any]]:
    """Returns the status and the error for what llama-server puts under ``error``."""
    message = str(said.get("message") or "")
    if said.get("type") == TOO_LONG:
        return 400, _too_long(said, message)
    if status == 404 and asked and message in ("", "File Not Found"):
        return 404, error_object(404, f"There is no {asked} here.", "unknown_url")
    if match := re.fullmatch(r"model '(.*)' not found", message):
        return 404, error_object(404, f"The model {match[1]!r} does not exist.", "model_not_found")
    if match := re.match(r"Infill is not supported by this model", message):
        words = "This model cannot fill in the middle: choose one that can, such as Qwen2.5-Coder."
        return 501, error_object(501, words, "infill_not_supported")
    if match := re.match(r"This server does not support (embeddings|reranking)", message):
        return 501, error_object(501, f"The models here were not started for {match[1]}.", f"{match[1]}_not_supported")
    if message.startswith("The model produced output that does not match"):
        words = "The model's output does not match its chat template, such as half a tool call: try again."
        return 500, error_object(500, words, UNREADABLE)
    for pattern, code, sentence in BLAMED if status in (400, 500) else ():
        if match := re.match(pattern, message, re.DOTALL):
            words = EXCEPTION.sub("", match.groupdict().get("said", "")).strip().rstrip(".")
            return 400, error_object(400, sentence.format(words), code)
    return status, error_object(status, message or "llama-server gave no reason.", None)


def _too_long(said: Mapping[str, Any], message: str) -> dict[str, Any]:
    """Agents search the message for either of these two phrases, to shorten a conversation by themselves."""
    sizes = {name: said[name] for name in ("n_prompt_tokens", "n_ctx") if isinstance(said.get(name), int)}
    if len(sizes) == 2:
        message = (
            f"The request ({sizes['n_prompt_tokens']} tokens) exceeds the available context size ({sizes['n_ctx']} tokens): "
            f"this model's maximum context length is {sizes['n_ctx']} tokens. Shorten the conversation, or start a new one."
        )
    return {**error_object(400, message, "context_length_exceeded"), **sizes}


async def with_errors(pieces: AsyncIterator[bytes], *, typed: bool) -> AsyncIterator[bytes]:
    """Yields a stream in which an error, its last event, has the usual form.

    :param typed: as in ``error_event``.
    """
    async for piece in pieces:
        yield _with_error(piece, typed) if is_error_event(piece) or NAMED in piece else piece


def _with_error(piece: bytes, typed: bool) -> bytes:
    """llama-server's Anthropic API names the event, and has the fields of ``error`` at the top level."""
    events = piece.split(b"\n\n")
    for number, event in enumerate(events):
        if event.startswith(NAMED) or is_error_event(event):
            try:
                content = json.loads(event.removeprefix(NAMED).removeprefix(b"data:"))
                said = content.get("error", content)
                error = refined(int(said.get("code", 500)), said)[1]
            except (ValueError, TypeError, AttributeError):
                continue
            events[number] = error_event(error, typed=typed).removesuffix(b"\n\n")
    return b"\n\n".join(events)


def prompts_in(content: bytes) -> list[int]:
    """Returns how many tokens are done of each prompt whose answer has not begun; none if it is something else.

    :param content: llama-server's answer at /slots.
    """
    try:
        slots = [slot for slot in json.loads(content) if slot["is_processing"]]
        return [int(slot["n_prompt_tokens"]) for slot in slots if not slot["next_token"][0]["n_decoded"]]
    except (ValueError, KeyError, TypeError, IndexError):
        return []


CONTEXT = re.compile(r"(?m)^\s*(?:ctx-size|c)\s*=\s*([1-9][0-9]*)\s*$")
HIDDEN = ("args", "preset")  # of a model's process: paths of this host


def listed(content: bytes, slots: Mapping[str, int]) -> dict[str, Any]:
    """Returns the list of models. Raises ValueError, KeyError or TypeError when it is none.

    :param content: llama-server's answer at /v1/models. It knows the contexts of models that are loaded, for each slot.
    :param slots: model -> slots, which share the context of its preset.
    """
    found = json.loads(content)
    return {**found, "data": [_listed(one, slots) for one in found["data"]]}


def _listed(one: dict[str, Any], slots: Mapping[str, int]) -> dict[str, Any]:
    status = one.get("status")
    if status is None:
        return one
    meta = one.get("meta") or {}
    context = CONTEXT.search(str(status.get("preset", "")))
    if "n_ctx" not in meta and context:
        meta = {**meta, "n_ctx": int(context[1]) // max(1, slots.get(one["id"], 1))}
    return {**one, "status": {name: value for name, value in status.items() if name not in HIDDEN}, "meta": meta}
