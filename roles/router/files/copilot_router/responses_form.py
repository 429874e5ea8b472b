# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories in the format of OpenAI's Responses API: converted as llama-server converts them, and back.

Consecutive texts, thoughts and calls of the assistant form one message; each text is a separate part. Items that llama-server
itself would refuse are repaired: assistant messages without a type, and thoughts without text.
"""

from __future__ import annotations

import json
from typing import Any

from .histories import SYSTEM_ROLES, Message

COMPLETED, DROPPED = "completed-item", "dropped-thoughts"
SAID_BY = {"assistant": "output_text"}  # type of a text; input_text otherwise
TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")


def to_chat(content: dict[str, Any], done: list[str]) -> list[Message]:
    """Returns the history of a POST to responses as one of chat/completions.

    :param done: gets the codes of the repairs.

    Raises ValueError, KeyError, TypeError or AttributeError for what is of no form that is known.
    """
    found: list[Message] = []
    if "instructions" in content:
        found.append({"role": "system", "content": content["instructions"] or ""})
    given = content["input"]
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        kind = item.get("type", "message")
        if kind == "message":
            if item["role"] == "assistant":
                done += [] if "type" in item else [COMPLETED]
                _spoken(found, _content(item["content"]))
            elif item["role"] in (*SYSTEM_ROLES, "user"):
                found.append({"role": item["role"], "content": _content(item["content"])})
            else:
                raise ValueError(item["role"])
        elif kind == "function_call":
            call = {"name": item["name"], "arguments": item["arguments"]}
            _assistant(found).setdefault("tool_calls", []).append({"id": item["call_id"], "type": "function", "function": call})
        elif kind == "function_call_output":
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": _content(item["output"])})
        elif kind == "reasoning":
            thoughts = _words(item.get("content")) or _words(item.get("summary"))
            if not item.get("content"):
                done.append(COMPLETED if thoughts else DROPPED)
            if thoughts:
                _assistant(found)["reasoning_content"] = thoughts
        else:
            raise ValueError(kind)
    return found


def _assistant(found: list[Message]) -> Message:
    """Returns what the assistant says now: one message, until somebody else says something."""
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": ""})
    return found[-1]


def _spoken(found: list[Message], content: Any) -> None:
    message = _assistant(found)
    before = message["content"]
    message["content"] = [*_parts(before), *_parts(content)] if before and content else before or content


def _content(given: Any) -> Any:
    """Returns a content; one that is a single text is a string."""
    if isinstance(given, str):
        return given
    parts = [_part(part) for part in given]
    return parts[0]["text"] if [part["type"] for part in parts] == ["text"] else parts


def _part(part: Message) -> Message:
    if part["type"] in TEXTS:
        return {"type": "text", "text": part["text"]}
    if part["type"] == "input_image":
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    if part["type"] == "refusal":
        return dict(part)  # kept, so that llama-server's error is reported
    raise ValueError(part["type"])


def _parts(content: Any) -> list[Message]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _words(parts: Any) -> str:
    return "\n".join(part["text"] for part in parts or ())


def with_history(content: dict[str, Any], messages: list[Message]) -> dict[str, Any]:
    """Returns the body with this history. It is not changed."""
    others = {key: value for key, value in content.items() if key not in ("instructions", "input")}
    first = messages[0] if messages else {}
    leads = first.get("role") in SYSTEM_ROLES and isinstance(first["content"], str) and "instructions" in content
    head = {"instructions": first["content"]} if leads else {}
    return {**others, **head, "input": [item for message in messages[leads:] for item in _items(message)]}


def _items(message: Message) -> list[Message]:
    role, content = message["role"], message.get("content") or ""
    if role == "tool":
        output = content if isinstance(content, str) else _of_kind("input_text", content)
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id", ""), "output": output}]
    items = []
    if thoughts := message.get("reasoning_content"):
        items.append({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": thoughts}]})
    calls = message.get("tool_calls") or []
    if content or not (calls or thoughts):
        said = _of_kind(SAID_BY.get(role, "input_text"), _parts(content))
        items.append({"type": "message", "role": role, "content": said})
    return [*items, *map(_call, calls)]


def _call(call: Message) -> Message:
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function_call", "call_id": call.get("id", ""), "name": name, "arguments": text}


def _of_kind(kind: str, parts: list[Message]) -> list[Message]:
    """Returns parts, of which texts are of this kind."""
    return [_item_part(kind, part) for part in parts]


def _item_part(kind: str, part: Message) -> Message:
    if part["type"] == "text":
        return {"type": kind, "text": part["text"]}
    return {"type": "input_image", "image_url": part["image_url"]["url"]}
