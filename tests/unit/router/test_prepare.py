# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What llama-server is sent of what a client sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from copilot_router.histories import Needs
from copilot_router.prepare import prepared
from copilot_router.question import BadRequest, read

CHAT, TINY = "/chat/completions", ["tiny"]
USERS = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
STRICT = Needs(merge_users=True)


def sent(body: bytes, needs: Needs | None, path: str = CHAT) -> Any:
    return prepared(read(path, body, TINY), body, needs)


@pytest.mark.parametrize("needs", [None, Needs(), STRICT], ids=["unknown", "none", "strict"])
def test_bytes_stay_where_nothing_is_to_be_done(needs: Needs | None) -> None:
    body = b' { "messages" : [ {"role":"user","content":"\xc3\xa4 \\u00e4"} ], "x": 1.50 }\n'
    found = sent(body, needs)
    assert (found.body, found.headers, found.progress) == (body, (), False)


def test_a_stream_is_asked_how_far_it_is_and_else_stays() -> None:
    body = b' {"messages": [{"role":"user","content":"{"}], "stream": true}'
    found = sent(body, STRICT)
    assert found.body == b' {"return_progress":true,"messages": [{"role":"user","content":"{"}], "stream": true}'
    assert found.progress


def test_a_history_is_rewritten_and_that_is_told() -> None:
    body = json.dumps({"messages": USERS, "stream": True}).encode()
    found = sent(body, STRICT)
    assert json.loads(found.body)["messages"] == [{"role": "user", "content": "a\n\nb"}]
    assert found.headers == ((b"x-copilot-history", b"merged-users"),)
    assert json.loads(found.body)["return_progress"] is True
    assert sent(body, None).headers == ()


def test_a_history_in_anthropic_s_form_is_rewritten_too() -> None:
    found = sent(json.dumps({"messages": USERS}).encode(), STRICT, "/messages")
    assert (json.loads(found.body)["messages"][0]["content"], found.headers) == (
        "a\n\nb",
        ((b"x-copilot-history", b"merged-users"),),
    )


def test_so_is_one_of_a_response() -> None:
    found = sent(json.dumps({"instructions": "Be brief.", "input": USERS, "store": False}).encode(), STRICT, "/responses")
    said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a\n\nb"}]}]
    assert json.loads(found.body) == {"store": False, "instructions": "Be brief.", "input": said}
    assert found.headers == ((b"x-copilot-history", b"merged-users"),)
    assert sent(b'{"input": "a"}', STRICT, "/responses").body == b'{"input": "a"}'


def test_other_interfaces_have_no_histories() -> None:
    body = json.dumps({"messages": USERS, "input": USERS}).encode()
    assert sent(body, STRICT, "/embeddings").body == body


def test_what_cannot_be_made_right_is_refused_in_a_sentence() -> None:
    with pytest.raises(BadRequest, match=r"^messages must be .*\.$") as refused:
        sent(b'{"messages": "no list"}', Needs())
    assert (refused.value.status, refused.value.code) == (400, "invalid_history")


def test_tools_that_are_not_shown_are_told() -> None:
    body = json.dumps({"messages": USERS[:1], "tools": [{"type": "function", "function": {"name": "read"}}]}).encode()
    assert sent(body, Needs(tools=False)).headers == ((b"x-copilot-tools", b"not-shown"),)
    assert sent(body, None).headers == ()
