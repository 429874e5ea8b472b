# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories in the form of OpenAI's responses, as Codex CLI sends them, for the template of the default model's family."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_histories import HISTORIES
from copilot_router.histories import Needs, rewrite
from copilot_router.prepare import rewritten
from copilot_router.responses_form import to_chat, with_history
from test_histories import MISTRAL_2512

Item = dict[str, Any]


def said(role: str, *texts: str, kind: str = "input_text") -> Item:
    kind = "output_text" if role == "assistant" else kind
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text} for text in texts]}


USER, ANSWER = said("user", "Look."), said("assistant", "I looked.")
CALL = {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": '{"path": "a.py"}'}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
THOUGHT = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
UNDERSTOOD = said("assistant", "Understood.")
NOT_RUN = {**RESULT, "output": "This call was not run."}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,aa"}
REFUSAL = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}


def asked(*items: Item, **more: Any) -> Item:
    return {"model": "tiny", "store": False, "input": list(items), **more}


def rewritten_here(content: Item, needs: Needs = MISTRAL_2512) -> tuple[Item, tuple[str, ...]]:
    return rewritten("/responses", content, needs)


CASES: dict[str, tuple[list[Item], list[Item], tuple[str, ...]]] = {
    "users in a row": ([USER, USER], [said("user", "Look.\n\nLook.")], ("merged-users",)),
    "a user after a result": (
        [USER, CALL, RESULT, USER],
        [USER, CALL, RESULT, UNDERSTOOD, USER],
        ("answered-result",),
    ),
    "an aborted call": (
        [USER, CALL, USER],
        [USER, CALL, NOT_RUN, UNDERSTOOD, USER],
        ("closed-tool-call", "answered-result"),
    ),
    "a call at the end": ([USER, CALL], [USER, CALL, NOT_RUN], ("closed-tool-call",)),
    "a late system message": (
        [USER, ANSWER, said("system", "Be kind."), USER],
        [USER, ANSWER, said("user", "[system]\nBe kind.\n\nLook.")],
        ("moved-system", "merged-users"),
    ),
    "an assistant first": ([ANSWER, USER], [said("user", ""), ANSWER, USER], ("added-user",)),
    "unfinished arguments": (
        [USER, {**CALL, "arguments": '{"path": "a.'}, RESULT],
        [USER, {**CALL, "arguments": '{"path": "a."}'}, RESULT],
        ("repaired-arguments",),
    ),
    "arguments that are no JSON": (
        [USER, {**CALL, "arguments": "a.py"}, RESULT],
        [USER, {**CALL, "arguments": '{"arguments": "a.py"}'}, RESULT],
        ("quoted-arguments",),
    ),
    "an assistant that does not say its type": (
        [USER, {"role": "assistant", "content": "I looked."}, USER],
        [USER, ANSWER, USER],
        ("completed-item",),
    ),
    "thoughts without words": (
        [USER, {"type": "reasoning", "summary": [], "encrypted_content": "x"}, ANSWER, USER],
        [USER, ANSWER, USER],
        ("dropped-thoughts",),
    ),
    "thoughts in a summary": (
        [USER, {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}, CALL, RESULT],
        [USER, THOUGHT, CALL, RESULT],
        ("completed-item",),
    ),
    "a refusal": ([USER, REFUSAL, USER], [USER, said("assistant", "No."), USER], ("renamed-parts",)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_template_refuses_is_made_right(name: str) -> None:
    given, expected, done = CASES[name]
    content = asked(*given)
    before = json.dumps(content)
    assert rewritten_here(content) == (asked(*expected), done)
    assert json.dumps(content) == before, "what was given is not changed"


def test_instructions_and_the_developer_are_one_system_message() -> None:
    content = asked(said("developer", "Be kind."), USER, instructions="Be brief.")
    found, done = rewritten_here(content)
    assert (found["instructions"], found["input"], done) == ("Be brief.\n\nBe kind.", [USER], ("merged-systems",))


def test_what_the_assistant_says_in_a_row_is_one_message() -> None:
    items = [USER, THOUGHT, said("assistant", "I look."), CALL, {**CALL, "call_id": "call_2"}, RESULT, ANSWER]
    question, turn, result, answer = to_chat(asked(*items), [])
    assert (turn["reasoning_content"], turn["content"]) == ("Hm.", "I look.")
    assert [call["id"] for call in turn["tool_calls"]] == ["call_1", "call_2"]
    assert (question["content"], result["tool_call_id"], answer["content"]) == ("Look.", "call_1", "I looked.")
    (_user, both) = to_chat(asked(USER, ANSWER, ANSWER), [])
    assert both["content"] == [{"type": "text", "text": "I looked."}] * 2


def test_images_and_several_texts_stay() -> None:
    content = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}, IMAGE]
    result = {**RESULT, "output": content}
    found, done = rewritten_here(asked({"role": "user", "content": content}, CALL, result, USER))
    assert found["input"] == [{"type": "message", "role": "user", "content": content}, CALL, result, UNDERSTOOD, USER]
    assert done == ("answered-result",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(asked(USER, CALL, RESULT, ANSWER, USER), id="what is taken"),
        pytest.param({"input": "Look.", "instructions": None}, id="a question"),
        pytest.param(asked(USER, USER, {"type": "item_reference", "id": "x"}), id="an item of another kind"),
        pytest.param(asked(USER, USER, {"role": "wizard", "content": "x"}), id="a role that there is not"),
        pytest.param(asked({"role": "user", "content": [{"type": "input_file"}]}, USER), id="a part of another kind"),
        pytest.param({}, id="nothing"),
        pytest.param({"input": 7}, id="no items"),
        pytest.param({"input": [7]}, id="items that are none"),
        pytest.param({"input": [{"role": "user", "content": 7}]}, id="a content that is none"),
        pytest.param(asked(CALL | {"name": None}, USER, USER), id="a call without a name"),
        pytest.param({"input": []}, id="no item"),
    ],
)
def test_the_rest_stays_as_it_is(content: Item) -> None:
    found, done = rewritten_here(content)
    assert (found is content, done) == (True, ())


def test_there_and_back_it_says_the_same() -> None:
    """All histories of agents, as the template takes them."""
    tried = 0
    for messages in HISTORIES.values():
        taken = rewrite({"messages": messages}, MISTRAL_2512).body["messages"]
        content = with_history({}, taken)
        again = to_chat(content, done := [])
        assert with_history({}, again) == content and not done
        tried += 1
    assert tried == len(HISTORIES) > 30


def test_a_longer_history_begins_as_the_shorter_one() -> None:
    history = [USER, CALL, RESULT, USER, CALL, USER]
    shorter = rewritten_here(asked(*history[:4]))[0]["input"]
    longer = rewritten_here(asked(*history))[0]["input"]
    assert longer[: len(shorter)] == shorter
