# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories in Anthropic's form."""

from __future__ import annotations

from typing import Any

import pytest
from agent_histories import HISTORIES
from copilot_router.anthropic_form import from_chat, to_chat
from copilot_router.histories import Needs
from copilot_router.prepare import rewritten

TEXT = {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "data:image/png;base64,aa"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a.py"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "42"}]}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
LOOP: dict[str, Any] = {
    "model": "tiny",
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "I look."}, USE]},
        {"role": "user", "content": [RESULT, TEXT, IMAGE]},
    ],
}
PATH = "/messages"
STRICT = Needs(answer_results=True, gather_results=True, merge_users=True)


def test_it_is_read_as_llama_server_reads_it() -> None:
    system, question, call, words, result = to_chat(LOOP, [])
    assert (system, question) == ({"role": "system", "content": LOOP["system"]}, LOOP["messages"][0])
    assert (call["reasoning_content"], call["tool_calls"][0]["function"]["arguments"]) == ("Hm.", '{"path": "a.py"}')
    assert words == {"role": "user", "content": [TEXT, IMAGE]}
    assert result == {"role": "tool", "tool_call_id": "toolu_1", "content": RESULT["content"]}


def test_what_is_said_beside_a_result_comes_after_it() -> None:
    found, done = rewritten(PATH, LOOP, STRICT)
    assert done == ("gathered-results", "answered-result")
    assert (found["model"], found["system"], found["messages"][0]) == ("tiny", LOOP["system"], LOOP["messages"][0])
    assert found["messages"][1]["content"] == [{"type": "thinking", "thinking": "Hm."}, *LOOP["messages"][1]["content"][1:]]
    assert found["messages"][2:] == [
        {"role": "user", "content": [RESULT]},
        {"role": "assistant", "content": "Understood."},
        {"role": "user", "content": [TEXT, IMAGE]},
    ]


def test_what_needs_nothing_stays_as_it_is() -> None:
    assert rewritten(PATH, LOOP, Needs()) == (LOOP, ())
    assert rewritten(PATH, LOOP, Needs())[0] is LOOP


@pytest.mark.parametrize(
    "messages",
    [None, "x", [3], [{"role": "user"}], [{"role": "user", "content": [3]}], [{"role": "user", "content": [{"text": "x"}]}]],
    ids=str,
)
def test_what_is_of_no_form_is_llama_servers_to_refuse(messages: Any) -> None:
    content = {"messages": messages}
    assert rewritten(PATH, content, STRICT) == (content, ())


def test_there_and_back_it_says_the_same() -> None:
    tried = 0
    for messages in HISTORIES.values():
        try:
            system, found = from_chat(messages)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # such as half a call, which has no place there
        again = to_chat({**({"system": system} if system is not None else {}), "messages": found}, [])
        assert from_chat(again) == (system, found)
        tried += 1
    assert tried > 25
