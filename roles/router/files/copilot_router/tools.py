# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes llama-server honour ``tool_choice``. By itself it treats a tool's name as ``auto``, and drops tools that the chat
template does not support.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .question import BadRequest

# The values of tool_choice that require any tool, by path.
ANY: Mapping[str, Any] = {"/chat/completions": "required", "/responses": "required", "/messages": {"type": "any"}}
NOT_SHOWN = "not-shown"  # the value of X-Copilot-Tools


def with_tools(path: str, content: dict[str, Any], *, shown: bool) -> tuple[dict[str, Any], bool]:
    """Returns the body in which one tool is left if one was named, and whether its tools are not shown to the model.

    :param content: of a POST to this path, which is one of ANY. It is not changed, and returned if nothing needs to be.
    :param shown: the model's template shows tools.

    Raises BadRequest when no call can be promised though one is demanded.
    """
    tools = content.get("tools") or []
    if not isinstance(tools, list):
        raise BadRequest(400, "tools must be a list of tools.", "invalid_tools")
    name, demanded = _choice(content.get("tool_choice"))
    named = [tool for tool in tools if name is not None and _name(tool) == name]
    if name is not None and not named:
        there = ", ".join(str(_name(tool)) for tool in tools) or "none"
        raise BadRequest(400, f"tool_choice names {name!r}, which is not in tools. There is: {there}.", "invalid_tool_choice")
    if demanded and not tools:
        raise BadRequest(
            400, "tool_choice requires a call, but there are no tools: send some, or leave it out.", "invalid_tool_choice"
        )
    if demanded and not shown:
        message = "This model's chat template does not support tools, so it cannot call one: choose another model, or send auto."
        raise BadRequest(400, message, "tools_not_supported")
    not_shown = bool(tools) and not shown and content.get("tool_choice") != "none"
    if name is None:
        return content, not_shown
    return {**content, "tools": named, "tool_choice": ANY[path]}, not_shown


def _choice(choice: Any) -> tuple[str | None, bool]:
    """Returns the named tool, and whether a call is required."""
    if choice in (None, "auto", "none"):
        return None, False
    if choice == "required":
        return None, True
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("auto", "none"):
        return None, False
    if kind == "any":
        return None, True
    name = _name(choice) if kind in ("function", "tool") else None
    if not isinstance(name, str):
        raise BadRequest(
            400, "tool_choice must be auto, none, required, or an object that names a function.", "invalid_tool_choice"
        )
    return name, True


def _name(tool: Any) -> Any:
    """Returns what a tool, or a choice, is called in the forms of OpenAI's two interfaces and of Anthropic's."""
    if not isinstance(tool, dict):
        return None
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else tool.get("name")
