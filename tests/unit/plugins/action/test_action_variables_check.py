# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names that the roles document, and those that our own examples use."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.slm.copilot.plugins.action.variables_check import documented_variables, results
from ansible_collections.slm.copilot.plugins.plugin_utils._settings import name_problems

CHECKOUT = Path(__file__).resolve().parents[4]


def test_no_name_of_our_own_examples_is_refused() -> None:
    """What they register is a variable of the host for the rest of the play."""
    folders = ("plugins", "docs", "roles", "playbooks", "examples")
    files = [path for folder in folders for path in (CHECKOUT / folder).rglob("*") if path.is_file()]
    texts = [path.read_text() for path in [CHECKOUT / "README.md", *files] if path.suffix in (".py", ".md", ".yml")]
    registered = {name for text in texts for name in re.findall(r"^\s*register: (\w+)", text, re.MULTILINE)}
    assert {"copilot_keys", "copilot_endpoint"} <= registered
    assert name_problems(registered, documented_variables() | results()) == []


def test_no_two_of_our_own_names_are_taken_for_each_other() -> None:
    ours = documented_variables() | results()
    assert name_problems(ours, ours) == []
