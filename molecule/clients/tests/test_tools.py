# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tools: what agents offer reaches the model's template, and what the model calls comes back well-formed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from developers import Client
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
OFFER: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 200}


@pytest.fixture
def client(developer: object) -> Client:
    return Client((FLEET / "clients-one/alice/api-key").read_text().strip(), "10.89.83.11", FLEET / "ca/ca.pem")


def check(call: dict[str, Any]) -> None:
    assert call["function"]["name"] == "read_file"
    assert json.loads(call["function"]["arguments"])["path"] in ("README.md", "setup.py")


def test_a_tool_is_called(client: Client) -> None:
    answer = client.chat(**OFFER)
    assert answer.status == 200, answer.body
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["id"]
    check(choice["message"]["tool_calls"][0])


def test_a_tool_is_called_in_a_stream(client: Client) -> None:
    stream = client.stream(**OFFER)
    assert stream.status == 200 and stream.finished and not stream.error, stream
    choices = [choice for piece in stream.pieces for choice in json.loads(piece)["choices"]]
    pieces = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    assert {piece["index"] for piece in pieces} == {0}
    names = "".join(piece["function"].get("name") or "" for piece in pieces)
    arguments = "".join(piece["function"].get("arguments") or "" for piece in pieces)
    check({"function": {"name": names, "arguments": arguments}})
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]


def test_the_tools_are_in_the_prompt(client: Client) -> None:
    answer = client.request("POST", "/apply-template", client.question(tools=[TOOL]))
    assert answer.status == 200, answer.body
    assert json.dumps("Reads a file.") in answer.json()["prompt"]
    assert "Reads a file." not in client.request("POST", "/apply-template", client.question()).json()["prompt"]
