# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories in the format of Anthropic's API: converted as llama-server converts them, and back."""

from __future__ import annotations

import json
from typing import Any

from .histories import SYSTEM_ROLES, Message


def with_history(content: dict[str, Any], messages: list[Message]) -> dict[str, Any]:
    """Returns the body with this history. It is not changed. Raises ValueError as ``from_chat`` does."""
    system, found = from_chat(messages)
    others = {key: value for key, value in content.items() if key not in ("system", "messages")}
    return {**others, **({"system": system} if system is not None else {}), "messages": found}


def to_chat(content: dict[str, Any], _done: list[str]) -> list[Message]:
    """Returns the history of a POST to messages as one of chat/completions: what a user says beside results comes before them.

    Raises ValueError, KeyError, TypeError or AttributeError for what is of no form that is known.
    """
    system = content.get("system")
    found: list[Message] = [{"role": "system", "content": system}] if system else []
    for message in content["messages"]:
        blocks = message["content"]
        if isinstance(blocks, str):
            found.append(message)
            continue
        kinds: dict[str, list[Any]] = {"tool_use": [], "tool_result": [], "thinking": [], "": []}
        for block in blocks:
            kinds[block["type"] if block["type"] in kinds else ""].append(block)
        calls = [
            {"id": one["id"], "type": "function", "function": {"name": one["name"], "arguments": json.dumps(one["input"])}}
            for one in kinds["tool_use"]
        ]
        thoughts = "".join(one["thinking"] for one in kinds["thinking"])
        if kinds[""] or calls or thoughts:
            more: Message = {"tool_calls": calls} if calls else {}
            more |= {"reasoning_content": thoughts} if thoughts else {}
            found.append({"role": message["role"], "content": kinds[""] or "", **more})
        for result in kinds["tool_result"]:
            found.append({"role": "tool", "tool_call_id": result["tool_use_id"], "content": result.get("content") or ""})
    return found


def from_chat(messages: list[Message]) -> tuple[Any, list[Message]]:
    """Returns the system's message, None without one, and the others. Raises ValueError for arguments that are no JSON."""
    system = messages[0].get("content") if messages and messages[0]["role"] in SYSTEM_ROLES else None
    found: list[Message] = []
    results: list[Any] | None = None  # of the current message
    for message in messages if system is None else messages[1:]:
        content, calls, thoughts = message.get("content"), message.get("tool_calls"), message.get("reasoning_content")
        if message["role"] == "tool":
            if results is None:
                results = []
                found.append({"role": "user", "content": results})
            results.append({"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": content or ""})
            continue
        results = None
        if not calls and not thoughts:
            found.append({"role": message["role"], "content": content or ""})
            continue
        blocks = [{"type": "thinking", "thinking": thoughts}] if thoughts else []
        blocks += content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        blocks += [
            {
                "type": "tool_use",
                "id": one.get("id", ""),
                "name": one["function"]["name"],
                "input": json.loads(one["function"]["arguments"]),
            }
            for one in calls or []
        ]
        found.append({"role": message["role"], "content": blocks})
    return system, found
