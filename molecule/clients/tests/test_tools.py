# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tools: what agents offer reaches the model's template, and what the model calls comes back well-formed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Server
from developers import Client
from engine import ask
from people import FLEET

TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Reads a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string", "enum": ["README.md", "setup.py"]}},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
}
# How a call begins. A model that was trained writes that when it must call a tool; this one is led to it, piece by piece: each is
# more welcome than the next, until it is there. What follows, the grammar of the tool decides, and it ends as soon as it may.
BEGINNING = '<tool_call>\n{"name": "read'
END = "<|end_of_text|>"


@pytest.fixture
def client(developer: object) -> Client:
    return Client((FLEET / "clients-one/alice/api-key").read_text().strip(), "10.89.83.11", FLEET / "ca/ca.pem")


@pytest.fixture
def offer(one: Server) -> dict[str, Any]:
    def tokens(text: str) -> list[int]:
        return ask(one.host, "/tokenize", {"content": text, "parse_special": True})["tokens"]

    (end,) = tokens(END)
    return {
        "tools": [TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 100,
        "temperature": 0,
        "logit_bias": [[token, 2000 - 200 * place] for place, token in enumerate(dict.fromkeys(tokens(BEGINNING)))]
        + [[end, 5000]],
        "presence_penalty": 3000,
        "repeat_penalty": 1.0,
        "repeat_last_n": 4,
    }


def check(call: dict[str, Any]) -> None:
    assert call["function"]["name"] == "read_file"
    assert json.loads(call["function"]["arguments"])["path"] in ("README.md", "setup.py")


def test_a_tool_is_called(client: Client, offer: dict[str, Any]) -> None:
    answer = client.chat(**offer)
    assert answer.status == 200, answer.body
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["id"]
    check(call)


def test_a_tool_is_called_in_a_stream(client: Client, offer: dict[str, Any]) -> None:
    stream = client.stream(**offer)
    assert stream.status == 200 and stream.finished and not stream.error, stream
    choices = [choice for piece in stream.pieces for choice in json.loads(piece)["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]
    pieces = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    assert {piece["index"] for piece in pieces} == {0}
    call = [piece["function"] for piece in pieces]
    assert len(call) > 1  # it came in pieces
    check({"function": {name: "".join(piece.get(name) or "" for piece in call) for name in ("name", "arguments")}})


def test_the_tools_are_in_the_prompt(client: Client, one: Server) -> None:
    with_tools, without = (
        ask(one.host, "/apply-template", client.question(**options))["prompt"] for options in ({"tools": [TOOL]}, {})
    )
    assert json.dumps("Reads a file.") in with_tools
    assert "Reads a file." not in without
