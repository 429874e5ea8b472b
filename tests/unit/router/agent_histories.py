# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories as coding agents send them, for unit and contract tests."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]
READ = {
    "type": "function",
    "function": {
        "name": "read",
        "description": "Reads a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


def system(text: Any = "Be brief.") -> Message:
    return {"role": "system", "content": text}


def user(text: Any = "Look at the file.") -> Message:
    return {"role": "user", "content": text}


def assistant(text: Any = "I looked.", *calls: Message, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {}), **more}


def call(call_id: str | None = "call_abcdefghijkl", arguments: Any = '{"path": "a.py"}') -> Message:
    with_id = {"id": call_id} if call_id else {}
    return {**with_id, "type": "function", "function": {"name": "read", "arguments": arguments}}


def result(call_id: str | None = "call_abcdefghijkl", text: Any = "42") -> Message:
    return {"role": "tool", "content": text, **({"tool_call_id": call_id} if call_id else {})}


def parts(*texts: str) -> list[Message]:
    return [{"type": "text", "text": text} for text in texts]


HISTORIES: dict[str, list[Message]] = {
    "question": [user()],
    "system": [system(), user()],
    "dialogue": [system(), user(), assistant(), user("Thanks.")],
    "tool-loop": [system(), user(), assistant(None, call()), result(), assistant(), user("Thanks.")],
    "waiting-for-the-answer-to-a-result": [system(), user(), assistant(None, call()), result()],
    "user-after-result": [system(), user(), assistant(None, call()), result(), user("Thanks.")],
    "aborted-call": [system(), user(), assistant(None, call()), user("Stop that.")],
    "call-at-the-end": [system(), user(), assistant(None, call())],
    "users-in-a-row": [user(), user("Please.")],
    "two-systems": [system(), system("Be kind."), user()],
    "system-in-the-middle": [user(), assistant(), system("Be kind."), user("Go on.")],
    "system-at-the-end": [system(), user(), assistant(None, call()), result(), system("Mind the plan.")],
    "only-system": [system()],
    "developer": [{"role": "developer", "content": "Be brief."}, user()],
    "assistant-first": [assistant(), user()],
    "result-first": [result(), assistant(), user()],
    "assistants-in-a-row": [user(), assistant(), assistant("It is fine."), user("Go on.")],
    "text-then-call": [user(), assistant("I shall look."), assistant(None, call()), result(), assistant(), user("Go on.")],
    "text-with-call": [user(), assistant("I shall look.", call()), result(), assistant(), user("Go on.")],
    "reasoning": [
        user(),
        assistant("", call(), reasoning_content="Hm."),
        result(),
        assistant(reasoning_content="So."),
        user("On."),
    ],
    "reasoning-with-text": [
        user(),
        assistant("I shall look.", call(), reasoning_content="Hm."),
        result(),
        assistant(),
        user("On."),
    ],
    "begun-answer": [user(), assistant("It is")],
    "two-begun-answers": [user(), assistant(), assistant("It is")],
    "null-content": [user(), assistant(None), user("Go on.")],
    "empty-answer": [user(), assistant(""), user("Go on.")],
    "no-content": [user(), {"role": "assistant"}, user("Go on.")],
    "parts": [
        {"role": "developer", "content": parts("Be brief.")},
        user(parts("Look", "at this.")),
        {"role": "assistant", "tool_calls": [call("call_a1", "{}")]},
        result("call_a1", parts("4", "2")),
    ],
    "parallel-calls": [
        user(),
        assistant(None, call("call_1"), call("call_2")),
        result("call_1"),
        result("call_2", "43"),
        assistant(),
        user("Go on."),
    ],
    "results-in-another-order": [
        user(),
        assistant(None, call("call_1"), call("call_2")),
        result("call_2", "43"),
        result("call_1"),
    ],
    "one-of-two-results": [user(), assistant(None, call("call_1"), call("call_2")), result("call_2", "43"), user("Go on.")],
    "result-after-user": [user(), assistant(None, call()), user("Hurry."), result(), assistant(), user("Go on.")],
    "result-without-call": [user(), assistant(), user("Go on."), result("call_that_is_gone"), assistant(), user("Go on.")],
    "two-results-of-one-call": [user(), assistant(None, call()), result(), result(text="43"), assistant(), user("Go on.")],
    "same-id-again": [user(), assistant(None, call("0")), result("0"), assistant(None, call("0")), result("0", "43")],
    "no-ids": [user(), assistant(None, call(None), call(None)), result(None), result(None, "43"), assistant(), user("Go on.")],
    "unfinished-arguments": [user(), assistant(None, call(arguments='{"path": "a.')), result(), assistant(), user("Go on.")],
    "no-json-in-arguments": [user(), assistant(None, call(arguments="a.py")), result(), assistant(), user("Go on.")],
    "empty-arguments": [user(), assistant(None, call(arguments="")), result(), assistant(), user("Go on.")],
    "list-in-arguments": [user(), assistant(None, call(arguments='["a.py"]')), result(), assistant(), user("Go on.")],
    "object-in-arguments": [user(), assistant(None, call(arguments={"path": "a.py"})), result(), assistant(), user("Go on.")],
    "two-aborted-calls": [user(), assistant(None, call("call_1")), assistant(None, call("call_2")), user("Stop that.")],
}


def body(messages: list[Message]) -> Message:
    """Returns a request with this history, with tools as agents send them once there are calls."""
    return {
        "messages": messages,
        **({"tools": [READ]} if any(one["role"] == "tool" or "tool_calls" in one for one in messages) else {}),
    }
