# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception type of the collection's private helpers, and a word for its texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CopilotError(Exception):
    """A problem that a person can act on.

    Helpers raise it with a text that says what was wrong and what to do; modules and
    plugins turn it into their own kind of failure.
    """


# bool is a kind of int, and Ansible's own types of strings and numbers are kinds of Python's.
_KINDS = (
    (bool, "a boolean"),
    (str, "a text"),
    (int, "a number"),
    (float, "a number"),
    (list, "a list"),
    (Mapping, "a mapping"),
    (type(None), "null"),
)


def kind_of(value: Any) -> str:
    """Returns what a value of a variable is, for people, without the value."""
    return next((words for kind, words in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")
