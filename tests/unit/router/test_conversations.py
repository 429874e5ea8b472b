# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from copilot_router.conversations import BLOCK, MOST_MARKS, chain_of, shared

TOOLS = [{"type": "function", "function": {"name": "read", "parameters": {"a": 1, "b": 2}}}]
SYSTEM = {"role": "system", "content": "You help."}
QUESTION = {"role": "user", "content": "Why?"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "read", "arguments": "{}"}}]}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}


def marks(*messages, **more):
    return chain_of({"model": "m", "messages": list(messages), "tools": TOOLS, **more}).marks


def test_the_next_turn_shares_all_of_the_one_before():
    before = marks(SYSTEM, QUESTION)
    after = marks(SYSTEM, QUESTION, CALL, {"role": "tool", "content": "text"})
    assert shared(before, after) == len(before) == 3


@pytest.mark.parametrize(
    ("other", "number"),
    [
        pytest.param(marks({**SYSTEM, "content": "Other."}, QUESTION, CALL), 1, id="system"),
        pytest.param(marks(SYSTEM, {**QUESTION, "content": "How?"}, CALL), 2, id="edited"),
        pytest.param(marks(SYSTEM, QUESTION, {**CALL, "tool_calls": []}), 3, id="tool_calls"),
        pytest.param(marks(SYSTEM, QUESTION, CALL, tools=[]), 0, id="tools"),
        pytest.param(marks(SYSTEM, QUESTION, CALL, tools=[{**TOOLS[0], "type": "x"}]), 0, id="a_tool"),
        pytest.param(marks(SYSTEM, QUESTION, CALL, temperature=1), 4, id="what_is_no_prompt"),
    ],
)
def test_where_two_requests_part(other, number):
    assert shared(marks(SYSTEM, QUESTION, CALL), other) == number


def test_images_count():
    other = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,BBBB"}}]}
    assert shared(marks(SYSTEM, IMAGE), marks(SYSTEM, other)) == 2


def test_keys_keep_the_order_of_the_body_as_templates_render_them():
    one, other = {"tools": [{"a": 1, "b": 2}]}, {"tools": [{"b": 2, "a": 1}]}
    assert chain_of(one).marks != chain_of(other).marks


def test_a_long_message_that_is_edited_late_keeps_its_start():
    text = "x" * (3 * BLOCK)
    one, other = chain_of({"prompt": text + "a"}), chain_of({"prompt": text + "b"})
    assert (shared(one.marks, other.marks), one.ends[-1]) == (3, 3 * BLOCK + 1)


def test_a_huge_prompt_has_few_marks_and_its_whole_size():
    chain = chain_of({"prompt": "x" * (MOST_MARKS + 10) * BLOCK})
    assert (len(chain.marks), chain.size) == (MOST_MARKS, (MOST_MARKS + 10) * BLOCK)


@pytest.mark.parametrize(
    "content", [{}, {"messages": []}, {"messages": None}, {"input": ["a", "b"]}, {"prompt": [1, 2]}, {"input": "\udc00"}]
)
def test_whatever_is_sent_has_a_chain(content):
    chain = chain_of(content)
    assert len(chain.marks) == len(chain.ends)
    assert sorted(chain.ends) == list(chain.ends)
