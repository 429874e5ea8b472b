# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of tool_choice."""

from __future__ import annotations

from typing import Any

import pytest
from copilot_router.question import BadRequest
from copilot_router.tools import with_tools

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/messages"


def tools(path: str, *names: str) -> list[dict[str, Any]]:
    """Tools in the form of the interface at this path."""
    if path == CHAT:
        return [{"type": "function", "function": {"name": name}} for name in names]
    return [{"type": "function", "name": name} if path == RESPONSES else {"name": name} for name in names]


@pytest.mark.parametrize(
    ("path", "choice", "becomes"),
    [
        pytest.param(CHAT, {"type": "function", "function": {"name": "write"}}, "required", id="chat"),
        pytest.param(RESPONSES, {"type": "function", "name": "write"}, "required", id="responses"),
        pytest.param(MESSAGES, {"type": "tool", "name": "write"}, {"type": "any"}, id="messages"),
    ],
)
def test_a_tool_that_is_named_is_the_only_one(path: str, choice: Any, becomes: Any) -> None:
    content = {"model": "x", "tools": tools(path, "read", "write"), "tool_choice": choice}
    found, not_shown = with_tools(path, content, shown=True)
    assert found == {"model": "x", "tools": tools(path, "write"), "tool_choice": becomes}
    assert (not_shown, content["tool_choice"]) == (False, choice), "what was given is as it was"


@pytest.mark.parametrize(
    "choice", [None, "auto", "none", "required", {"type": "auto"}, {"type": "none"}, {"type": "any"}], ids=str
)
def test_what_names_none_stays_as_it_is(choice: Any) -> None:
    content = {"tools": tools(CHAT, "read"), "tool_choice": choice}
    assert with_tools(CHAT, content, shown=True)[0] is content


@pytest.mark.parametrize(
    ("there", "choice", "shown", "code"),
    [
        pytest.param(["read"], {"type": "function", "function": {"name": "write"}}, True, "invalid_tool_choice", id="not there"),
        pytest.param([], {"type": "function", "function": {"name": "write"}}, True, "invalid_tool_choice", id="none there"),
        pytest.param([], "required", True, "invalid_tool_choice", id="required of none"),
        pytest.param(["read"], "required", False, "tools_not_supported", id="required, not shown"),
        pytest.param(
            ["read"], {"type": "function", "function": {"name": "read"}}, False, "tools_not_supported", id="named, not shown"
        ),
        pytest.param(["read"], "write", True, "invalid_tool_choice", id="a word that is none"),
        pytest.param(["read"], {"type": "function"}, True, "invalid_tool_choice", id="an object without a name"),
        pytest.param(["read"], [], True, "invalid_tool_choice", id="a list"),
    ],
)
def test_what_cannot_be_promised_is_refused(there: list[str], choice: Any, shown: bool, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        with_tools(CHAT, {"tools": tools(CHAT, *there), "tool_choice": choice}, shown=shown)
    assert (refused.value.status, refused.value.code) == (400, code)


@pytest.mark.parametrize(
    ("content", "not_shown"),
    [
        pytest.param({"tools": tools(CHAT, "read")}, True, id="tools"),
        pytest.param({"tools": tools(CHAT, "read"), "tool_choice": "auto"}, True, id="auto"),
        pytest.param({"tools": tools(CHAT, "read"), "tool_choice": "none"}, False, id="unwanted"),
        pytest.param({"tools": []}, False, id="no tools"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_tools_that_a_template_does_not_show_are_told(content: dict[str, Any], not_shown: bool) -> None:
    assert with_tools(CHAT, content, shown=False) == (content, not_shown)


@pytest.mark.parametrize("given", ["read", {"name": "read"}], ids=["text", "object"])
def test_tools_are_a_list(given: Any) -> None:
    with pytest.raises(BadRequest, match="must be a list"):
        with_tools(CHAT, {"tools": given}, shown=True)
