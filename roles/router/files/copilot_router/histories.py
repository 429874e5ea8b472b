# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rewrites a history so that the model's chat template accepts it, without changing its meaning.

Everything here is pure. The needs of a template are learnt by asking the engine to apply it to a few small histories: ``probes``
returns them, ``needs_of`` interprets the answers, and ``rewrite`` makes the required changes and no others.

Prompt caches stay warm: the result for a message depends only on the messages before it, so the prompt of a longer history starts
with that of the shorter one. Only the last turn may end differently: another user message may be merged into it, and calls that
were closed without a result may get theirs.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]

NOT_RUN = "This call was not run."  # the result of a call that has none
UNDERSTOOD = "Understood."  # between a tool's result and a user; Mistral's own agent says the same there
SYSTEM_MARK = "[system]"  # before a system message that is sent as a user message
RESULT_MARK = "[tool result]"  # before a tool's result that is sent as a user message

SYSTEM_ROLES = ("system", "developer")
ROLES = (*SYSTEM_ROLES, "user", "assistant", "tool")
ID_LENGTH = 9
ID_CHARACTERS = frozenset(string.ascii_letters + string.digits)
UNFINISHED_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$")
UNFINISHED_WORD = re.compile(r"[-+.\w]+$")


class HistoryProblem(Exception):
    """A history that cannot be repaired. The message is for people: which message, and what to do.

    :cvar status: of the answer.
    """

    status = 400


@dataclass(frozen=True, slots=True)
class Needs:
    """The changes that a template needs; none by default. Created by ``needs_of``.

    :param tools: it shows tools to the model. Nothing is done about it here.
    :param text_only: roles whose content must be a string.
    :param arguments: kinds of a call's arguments that it refuses: ``empty``, ``broken`` (no JSON), ``other`` (JSON, no object).
    """

    merge_systems: bool = False  # one system message at the beginning
    system_as_user: bool = False  # no system message at all
    late_system_as_user: bool = False  # none after the beginning
    developer_as_system: bool = False
    user_first: bool = False
    user_needed: bool = False  # at least one user's message
    merge_users: bool = False
    merge_assistants: bool = False
    answer_results: bool = False  # no user right after a tool's result
    drop_empty: bool = False  # no assistant's message without content
    no_thoughts: bool = False  # thoughts hide the answer
    known_roles: bool = False  # no role that OpenAI does not know
    quote_calls: bool = False  # calls and their results are shown as text only
    close_calls: bool = False  # each call has a result
    gather_results: bool = False  # right behind its call
    order_results: bool = False  # in the order of the calls
    single_calls: bool = False  # one call in a message
    results_need_calls: bool = False  # no result without a call
    ids: bool = False  # each call and each result has one
    short_ids: bool = False  # ids of nine letters and digits
    text_only: frozenset[str] = frozenset()
    arguments: frozenset[str] = frozenset()
    tools: bool = True


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A request whose history the template accepts.

    :param body: the very object that was given, if nothing was done.
    :param done: what was done, in short codes, each once.
    :param ids: the client's id of a tool call, by the one that stands for it in ``body``.
    """

    body: dict[str, Any]
    done: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)

    def client_id(self, call_id: str) -> str:
        """Returns the id by which the client knows this call of an answer."""
        return self.ids.get(call_id, call_id)


# Rewriting


def rewrite(body: dict[str, Any], needs: Needs) -> Rewritten:
    """Returns the request with a history that a template with these needs takes.

    :param body: of a POST to chat/completions. It is not changed.

    Raises HistoryProblem when the history cannot be made right.
    """
    given = _checked(body, needs)
    done: list[str] = []
    ids: dict[str, str] = {}
    messages = [_completed(message, done) for message in given]
    messages = _plain(messages, needs, done)
    messages = [_with_calls(message, index, needs, done, ids) for index, message in enumerate(messages)]
    messages = _with_results(messages, needs, done)
    if needs.quote_calls:
        messages = _quoted(messages, done)
    messages = _systems(messages, needs, done)
    messages = _alternating(messages, needs, done)
    if not done:
        return Rewritten(body)
    return Rewritten({**body, "messages": messages}, tuple(dict.fromkeys(done)), ids)


def _checked(body: Mapping[str, Any], needs: Needs) -> list[Message]:
    """Returns the history. Raises HistoryProblem if it is malformed, or contains what no template can render."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise HistoryProblem("messages must be a list with at least one message: send the conversation in it")
    for index, message in enumerate(messages):
        here = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise HistoryProblem(f"{here} must be an object with a role: give it one of {', '.join(ROLES)}")
        if needs.known_roles and message["role"] not in ROLES:
            raise HistoryProblem(f"{here} has a role that this model does not know: use one of {', '.join(ROLES)}")
        content = message.get("content")
        if not (content is None or isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content)))):
            raise HistoryProblem(f"{here}.content must be a string or a list of parts, each an object with a type")
        calls = message.get("tool_calls")
        if not (calls is None or (isinstance(calls, list) and all(map(_is_call, calls)))):
            raise HistoryProblem(f"{here}.tool_calls must be a list of calls, each with a function that has a name")
    return messages


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str)


def _is_call(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("function"), dict) and isinstance(call["function"].get("name"), str)


def _calls(message: Message) -> list[Message]:
    """Returns the calls of an assistant's message."""
    return (message.get("tool_calls") or []) if message["role"] == "assistant" else []


def _completed(message: Message, done: list[str]) -> Message:
    """Adds the fields that the engine requires for every template."""
    if "content" not in message and not (message["role"] == "assistant" and "tool_calls" in message):
        done.append("added-content")
        message = {**message, "content": ""}
    if any(call.get("type") != "function" or "arguments" not in call["function"] for call in _calls(message)):
        done.append("completed-call")
        calls = [
            {**call, "type": "function", "function": {**call["function"], "arguments": call["function"].get("arguments", "{}")}}
            for call in _calls(message)
        ]
        message = {**message, "tool_calls": calls}
    if isinstance(message.get("content"), list):
        parts = [_text_part(part) for part in message["content"]]
        if parts != message["content"]:
            done.append("renamed-parts")
            message = {**message, "content": parts}
    return message


def _text_part(part: Message) -> Message:
    """Text is called ``text``, also where other interfaces of OpenAI call it something else."""
    if part["type"] in ("input_text", "output_text", "refusal"):
        return {"type": "text", "text": str(part.get("text", part.get("refusal", "")))}
    return part


def _plain(messages: list[Message], needs: Needs, done: list[str]) -> list[Message]:
    """Turns contents into strings if needed, and drops thoughts that would hide them."""
    found: list[Message] = []
    for given in messages:
        message = given
        if needs.no_thoughts and message.get("reasoning_content"):
            done.append("dropped-thoughts")
            message = {key: value for key, value in message.items() if key != "reasoning_content"}
        role, content = message["role"], message.get("content")
        if not isinstance(content, list) or ("system" if role == "developer" else role) not in needs.text_only:
            found.append(message)
            continue
        texts = [str(part.get("text", "")) for part in content if part["type"] == "text"]
        others = [part for part in content if part["type"] != "text"]
        if role == "user" and others:
            found.append(message)
            continue
        done.append("joined-parts")
        found.append({**message, "content": "\n".join(texts)})
        if others:  # only a user message can contain an image there
            done.append("moved-image")
            found.append({"role": "user", "content": others})
    return found


def _with_calls(message: Message, index: int, needs: Needs, done: list[str], ids: dict[str, str]) -> Message:
    """Gives calls and results the arguments and IDs that the template needs."""
    if message["role"] == "tool" and needs.short_ids and message.get("tool_call_id"):
        short = _short_id(str(message["tool_call_id"]), done, ids)
        return message if short == message["tool_call_id"] else {**message, "tool_call_id": short}
    calls = [_with_call(call, f"{index}.{number}", needs, done, ids) for number, call in enumerate(_calls(message))]
    return {**message, "tool_calls": calls} if calls else message


def _with_call(call: Message, place: str, needs: Needs, done: list[str], ids: dict[str, str]) -> Message:
    function = {**call["function"], "arguments": _arguments(call["function"]["arguments"], needs, done)}
    if not call.get("id") and (needs.ids or needs.short_ids):
        return {**call, "id": _short_id(f"call {place}", done, {}), "function": function}
    if needs.short_ids:
        return {**call, "id": _short_id(str(call["id"]), done, ids), "function": function}
    return {**call, "function": function}


def _short_id(call_id: str, done: list[str], ids: dict[str, str]) -> str:
    """Returns nine letters and digits derived from an ID."""
    if len(call_id) == ID_LENGTH and ID_CHARACTERS.issuperset(call_id):
        return call_id
    short = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]
    done.append("mapped-ids")
    ids[short] = call_id
    return short


def _arguments(given: Any, needs: Needs, done: list[str]) -> Any:
    """Returns a call's arguments, as they are if the template takes them."""
    kind, value = kind_of_arguments(given)
    if kind not in needs.arguments:
        return given
    finished = "{}" if kind == "empty" else finished_object(given) if kind == "broken" else None
    done.append("repaired-arguments" if finished else "quoted-arguments")
    return finished or json.dumps({"arguments": given if kind == "broken" else value})


def kind_of_arguments(given: Any) -> tuple[str, Any]:
    """Returns ``object``, ``empty``, ``broken`` or ``other``, and what the arguments say unless they are broken."""
    value = given
    if given is None or (isinstance(given, str) and not given.strip()):
        return "empty", None
    if isinstance(given, str):
        try:
            value = _strict_json(given)
        except (ValueError, RecursionError):
            return "broken", None
    return ("object" if isinstance(value, dict) else "other"), value


def _strict_json(text: str) -> Any:
    """Reads JSON as the engine does. Raises ValueError."""

    def refused(constant: str) -> Any:
        raise ValueError(constant)

    value = json.loads(text, parse_constant=refused)
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return value


def finished_object(text: str) -> str | None:
    """Completes a truncated JSON object with the shortest possible end; None if the text does not start one."""
    closers: list[str] = []
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            in_string = True
        elif character in "{[":
            closers.append("}" if character == "{" else "]")
        elif character in "}]" and (not closers or closers.pop() != character):
            return None
    end = "".join(reversed(closers))
    if in_string:
        text = UNFINISHED_ESCAPE.sub(r"\1", text) + '"'
    whole = text.rstrip().removesuffix(",")
    for candidate in (whole, whole + "null", whole + ": null", UNFINISHED_WORD.sub("null", whole)):
        if kind_of_arguments(candidate + end)[0] == "object":
            return candidate + end
    return None


# Calls and their results


def _with_results(messages: list[Message], needs: Needs, done: list[str]) -> list[Message]:
    """Moves results to their calls, and adds a result to calls without one."""
    found: list[Message] = []
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if not _calls(message):
            found.append(_stray(message, needs, done))
            continue
        end = next((later for later in range(index, len(messages)) if messages[later]["role"] == "assistant"), len(messages))
        found += _turn(message, messages[index:end], end >= len(messages) - 1, needs, done)
        index = end
    return found


def _turn(message: Message, following: list[Message], at_end: bool, needs: Needs, done: list[str]) -> list[Message]:
    """Returns a message with calls and those up to the assistant's next."""
    calls = _calls(message)
    results: dict[int, Message] = {}  # by the number of the call, in order of arrival
    others: list[Message] = []
    placed: list[Message] = [message]  # all messages, in place
    moved, with_ids = False, needs.ids or needs.short_ids
    for one in following:
        number = _answered(one, calls, results) if one["role"] == "tool" else None
        if number is None:
            others.append(_stray(one, needs, done))
            placed.append(others[-1])
        else:
            results[number] = one if one.get("tool_call_id") or not with_ids else _with_id(one, calls[number]["id"], done)
            placed.append(results[number])
            moved = moved or bool(others)
    split = needs.single_calls and len(calls) > 1
    # The engine continues the assistant's last text, but not a call.
    must_close = split or (at_end and not following)
    gap = needs.order_results and any(number not in results for number in range(max(results, default=0)))
    wanted = {
        "closed-tool-call": len(results) < len(calls) and (needs.close_calls or must_close or gap),
        "ordered-results": needs.order_results and list(results) != sorted(results),
        "gathered-results": needs.gather_results and moved,
        "split-calls": split,
    }
    done += [code for code, is_wanted in wanted.items() if is_wanted]
    if not any(wanted.values()):
        return placed
    if wanted["closed-tool-call"]:
        for number, call in enumerate(calls):
            results.setdefault(number, {"role": "tool", "tool_call_id": call.get("id", ""), "content": NOT_RUN})
    if split:
        alone = [{**(message if number == 0 else {"role": "assistant", "content": ""}), "tool_calls": [call]}
                 for number, call in enumerate(calls)]  # fmt: skip
        return [one for number, call in enumerate(alone) for one in (call, results.get(number)) if one] + others
    order = sorted(results) if needs.order_results else list(results)
    return [message, *(results[number] for number in order), *others]


def _answered(result: Message, calls: list[Message], answered: Iterable[int]) -> int | None:
    """Returns the number of the call that this is the result of; without an id it is of the first that has none."""
    call_id = result.get("tool_call_id")
    waiting = (number for number in range(len(calls)) if number not in answered)
    return next((number for number in waiting if not call_id or calls[number].get("id") == call_id), None)


def _with_id(result: Message, call_id: str, done: list[str]) -> Message:
    done.append("mapped-ids")
    return {**result, "tool_call_id": call_id}


def _stray(message: Message, needs: Needs, done: list[str]) -> Message:
    """Turns a result without an open call into a user message if needed. Other messages are not changed."""
    if message["role"] == "tool" and needs.results_need_calls:
        done.append("result-as-user")
        return {"role": "user", "content": _marked(RESULT_MARK, message.get("content"))}
    if message["role"] == "tool" and (needs.ids or needs.short_ids) and not message.get("tool_call_id"):
        return _with_id(message, "0" * ID_LENGTH, done)
    return message


def _quoted(messages: list[Message], done: list[str]) -> list[Message]:
    """Writes calls and results as text, for a template that does not show them."""
    found: list[Message] = []
    names: dict[str, str] = {}
    for message in messages:
        content = message.get("content")
        if calls := _calls(message):
            done.append("quoted-calls")
            names.update((str(call.get("id")), call["function"]["name"]) for call in calls)
            texts = [f"[called {call['function']['name']} with {_as_text(call['function']['arguments'])}]" for call in calls]
            rest = {key: value for key, value in message.items() if key != "tool_calls"}
            found.append({**rest, "content": _joined(content, "\n".join(texts))})
        elif message["role"] == "tool":
            done.append("result-as-user")
            name = names.get(str(message.get("tool_call_id")))
            found.append({"role": "user", "content": _marked(f"[result of {name}]" if name else RESULT_MARK, content)})
        else:
            found.append(message)
    return found


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Roles


def _systems(messages: list[Message], needs: Needs, done: list[str]) -> list[Message]:
    """Merges system messages at the start, and turns others into user messages if the template needs it."""
    if needs.developer_as_system and any(message["role"] == "developer" for message in messages):
        done.append("developer-as-system")
        messages = [{**message, "role": "system"} if message["role"] == "developer" else message for message in messages]
    leading = next((index for index, message in enumerate(messages) if message["role"] not in SYSTEM_ROLES), len(messages))
    head, rest = messages[:leading], messages[leading:]
    if len(head) > 1 and (needs.merge_systems or needs.system_as_user):
        done.append("merged-systems")
        whole = head[0]
        for message in head[1:]:
            whole = _merged(whole, message)
        head = [whole]
    if head and needs.system_as_user:
        done.append("system-as-user")
        head = [{"role": "user", "content": message.get("content")} for message in head]
    if needs.late_system_as_user or needs.system_as_user:
        for index, message in enumerate(rest):
            if message["role"] in SYSTEM_ROLES:
                done.append("moved-system")
                rest[index] = {"role": "user", "content": _marked(SYSTEM_MARK, message.get("content"))}
    return head + rest


def _alternating(messages: list[Message], needs: Needs, done: list[str]) -> list[Message]:
    """Makes user and assistant messages alternate as far as the template needs it."""
    found: list[Message] = []
    for message in messages:
        role, last = message["role"], found[-1] if found else {"role": "system"}
        if needs.drop_empty and role == "assistant" and not message.get("content") and not _calls(message):
            done.append("dropped-empty")
            continue
        if needs.user_first and last["role"] in SYSTEM_ROLES and role in ("assistant", "tool"):
            done.append("added-user")
            found.append({"role": "user", "content": ""})
        if role == last["role"] == "user" and needs.merge_users:
            done.append("merged-users")
            found[-1] = _merged(last, message)
        elif role == last["role"] == "assistant" and needs.merge_assistants and not _calls(last):
            done.append("merged-assistants")
            found[-1] = _merged(last, message)
        else:
            if role == "user" and last["role"] == "tool" and needs.answer_results:
                done.append("answered-result")
                found.append({"role": "assistant", "content": UNDERSTOOD})
            found.append(message)
    while len(found) > 1 and found[-1]["role"] == found[-2]["role"] == "assistant":  # the engine continues one message, not two
        done.append("merged-assistants")
        found[-2:] = [_merged(found[-2], found[-1])]
    alone = found and found[-1]["role"] == "assistant" and all(one["role"] in SYSTEM_ROLES for one in found[:-1])
    if alone or not found or (needs.user_needed and all(one["role"] != "user" for one in found)):
        done.append("added-user")
        start = next((index for index, message in enumerate(found) if message["role"] not in SYSTEM_ROLES), len(found))
        found.insert(start, {"role": "user", "content": ""})
    return found


# Contents


def _merged(first: Message, second: Message) -> Message:
    """Merges two messages. Other keys come from the first one."""
    whole = {
        **second,
        **{key: value for key, value in first.items() if value},
        "content": _joined(first.get("content"), second.get("content")),
    }
    if first.get("reasoning_content") and second.get("reasoning_content"):
        whole["reasoning_content"] = _joined(first["reasoning_content"], second["reasoning_content"])
    return whole


def _joined(first: Any, second: Any) -> Any:
    """Returns both contents with a blank line between texts. Parts stay what they are, and in their order."""
    if not first or not second:
        return first or second or ""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    before, after = _parts(first), _parts(second)
    if before[-1]["type"] == after[0]["type"] == "text":
        after = [{**after[0], "text": f"\n\n{after[0].get('text', '')}"}, *after[1:]]
    return before + after


def _marked(mark: str, content: Any) -> Any:
    """Returns the content below a line that names its author."""
    return [{"type": "text", "text": f"{mark}\n"}, *content] if isinstance(content, list) else f"{mark}\n{content or ''}"


def _parts(content: Any) -> list[Message]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


# What a template needs

READ: Message = {
    "type": "function",
    "function": {
        "name": "read",
        "description": "tooltold",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


def _said(role: str, number: int = 1) -> Message:
    return {"role": role, "content": f"{role}word{number}"}


def _call(number: int, arguments: str | None = None, call_id: str = "") -> Message:
    function = {"name": "read", "arguments": arguments if arguments is not None else json.dumps({"path": f"callword{number}"})}
    return {"id": call_id or f"aaaaaaaa{number}", "type": "function", "function": function}


def _calling(*calls: Message) -> Message:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


def _result(number: int, call_id: str = "") -> Message:
    return {"role": "tool", "tool_call_id": call_id or f"aaaaaaaa{number}", "content": f"toolword{number}"}


def _without_id(message: Message) -> Message:
    """A call's message, or a result's."""
    bare = {key: value for key, value in message.items() if key != "tool_call_id"}
    calls = [{key: value for key, value in call.items() if key != "id"} for call in message.get("tool_calls", [])]
    return {**bare, "tool_calls": calls} if calls else bare


def _in_parts(message: Message) -> Message:
    return {**message, "content": [{"type": "text", "text": text} for text in (message["content"], SECOND_PART)]}


USER, USER_2, USER_3 = _said("user"), _said("user", 2), _said("user", 3)
ANSWER, ANSWER_2, SYSTEM, SYSTEM_2 = _said("assistant"), _said("assistant", 2), _said("system"), _said("system", 2)
SECOND_PART = "partword2"
CALL, CALLS, RESULT, RESULT_2 = _calling(_call(1)), _calling(_call(1), _call(2)), _result(1), _result(2)
LONG_ID = "call_abcdefghijkl"
HISTORIES: dict[str, list[Message]] = {
    "plain": [USER],
    "dialogue": [USER, ANSWER, USER_2],
    "system": [SYSTEM, USER, ANSWER, USER_2],
    "systems": [SYSTEM, SYSTEM_2, USER],
    "late-system": [SYSTEM, USER, ANSWER, SYSTEM_2, USER_2],
    "last-system": [SYSTEM, USER, SYSTEM_2],
    "developer": [{**SYSTEM, "role": "developer"}, USER],
    "only-system": [SYSTEM],
    "assistant-first": [ANSWER, USER],
    "users": [USER, USER_2],
    "assistants": [USER, ANSWER, ANSWER_2, USER_2],
    "assistants-call": [USER, ANSWER, CALL, RESULT, ANSWER_2, USER_2],
    "empty-assistant": [USER, {**ANSWER, "content": ""}, USER_2],
    "thoughts": [USER, {**ANSWER, "reasoning_content": "thought"}, USER_2],
    "other-role": [USER, {**ANSWER, "role": "critic"}, USER_2],
    "call": [USER, CALL, RESULT, ANSWER, USER_2],
    "system-call": [SYSTEM, USER, CALL, RESULT],
    "parallel": [USER, CALLS, RESULT, RESULT_2, ANSWER, USER_2],
    "swapped": [USER, CALLS, RESULT_2, RESULT, ANSWER, USER_2],
    "half": [USER, CALLS, RESULT, ANSWER, USER_2],
    "unanswered": [USER, CALL, USER_2],
    "interleaved": [USER, CALL, USER_2, RESULT, ANSWER, USER_3],
    "user-after-result": [USER, CALL, RESULT, USER_2],
    "stray-result": [USER, RESULT, ANSWER, USER_2],
    "long-id": [USER, _calling(_call(1, call_id=LONG_ID)), _result(1, LONG_ID), ANSWER, USER_2],
    "no-ids": [USER, _without_id(CALL), _without_id(RESULT), ANSWER, USER_2],
    "arguments-empty": [USER, _calling(_call(1, "")), RESULT, ANSWER, USER_2],
    "arguments-broken": [USER, _calling(_call(1, '{"path": "')), RESULT, ANSWER, USER_2],
    "arguments-other": [USER, _calling(_call(1, "[1]")), RESULT, ANSWER, USER_2],
    "parts-user": [_in_parts(USER)],
    "parts-system": [_in_parts(SYSTEM), USER, ANSWER, USER_2],
    "parts-assistant": [USER, _in_parts(ANSWER), USER_2],
    "parts-tool": [USER, CALL, _in_parts(RESULT), ANSWER, USER_2],
}
WITH_PARTS = {"user": "plain", "system": "system", "assistant": "dialogue", "tool": "call"}  # must render the same without parts
MARKS = re.compile(r"(?:user|assistant|system|call|tool)word[0-9]")


def probes() -> list[tuple[str, dict[str, Any]]]:
    """Returns what ``needs_of`` must know the answers to: names, and bodies of a POST to the engine's /apply-template."""
    return [
        (name, {"messages": messages, **({"tools": [READ]} if _uses_tools(messages) else {})})
        for name, messages in HISTORIES.items()
    ]


def _uses_tools(messages: list[Message]) -> bool:
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


def needs_of(prompts: Mapping[str, str | None]) -> Needs:
    """Returns what a template needs.

    :param prompts: by the names of all probes: the prompt, None where the engine refused.

    Raises ValueError when even a plain question was refused, which says nothing about the template.
    """
    if prompts["plain"] is None:
        raise ValueError("the engine could not apply the template to a plain question")
    call = prompts["call"] or ""
    tools = READ["function"]["description"] in call
    calls_shown = _in_order(_marks("call"), call)
    # If a template renders tools and results, but no calls, that is intended; the model would imitate calls quoted as text.
    calls = calls_shown or (tools and RESULT["content"] in call)

    def takes(*names: str) -> bool:
        """Returns whether each is accepted, and all of its texts appear in the prompt in the same order."""
        return all(
            prompts[name] is not None
            and _in_order([mark for mark in _marks(name) if calls_shown or "call" not in mark], prompts[name] or "")
            for name in names
        )

    parallel = takes("parallel")
    ids_shown = all(call["id"] in (prompts["parallel"] or "") for call in CALLS["tool_calls"])
    return Needs(
        merge_systems=not takes("systems"),
        system_as_user=not takes("system") or (calls and not takes("system-call")),
        late_system_as_user=not takes("late-system", "last-system"),
        developer_as_system=not takes("developer"),
        user_first=not takes("assistant-first"),
        user_needed=not takes("only-system"),
        merge_users=not takes("users"),
        merge_assistants=not takes("assistants") or (calls and not takes("assistants-call")),
        answer_results=calls and not takes("user-after-result"),
        drop_empty=not takes("empty-assistant"),
        no_thoughts=not takes("thoughts"),
        known_roles=not takes("other-role"),
        quote_calls=not calls,
        close_calls=calls and not (takes("unanswered") and (takes("half") or not parallel)),
        gather_results=calls and not takes("interleaved"),
        order_results=calls and parallel and not (ids_shown and takes("swapped")),
        single_calls=calls and not parallel,
        results_need_calls=calls and not takes("stray-result"),
        ids=calls and not takes("no-ids"),
        short_ids=calls and not takes("long-id"),
        text_only=frozenset(
            role
            for role, name in WITH_PARTS.items()
            if (calls or role != "tool") and not _same(prompts[name], prompts[f"parts-{role}"], role)
        ),
        arguments=frozenset(kind for kind in ("empty", "broken", "other") if calls and prompts[f"arguments-{kind}"] is None),
        tools=tools,
    )


def _same(plain: str | None, in_parts: str | None, role: str) -> bool:
    """Whether two parts look as one text does, with nothing but line ends between them."""
    first = _said(role)["content"]
    return plain is not None and in_parts in [
        plain.replace(first, f"{first}{between}{SECOND_PART}") for between in ("", "\n", "\n\n", "\\n")
    ]


def _marks(name: str) -> list[str]:
    return MARKS.findall(json.dumps(HISTORIES[name]))


def _in_order(marks: Iterable[str], prompt: str) -> bool:
    place = 0
    for mark in marks:
        place = prompt.find(mark, place) + 1
        if not place:
            return False
    return True
