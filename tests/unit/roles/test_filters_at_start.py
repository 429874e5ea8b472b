# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""site.yml loads all filters before its first task."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_filter_that_is_asked_for_is_in_the_last_file():
    """Ansible looks for a filter in one file after the other, by name."""
    asked = re.search(r"when: false and \(\{\} \| slm\.copilot\.(\w+)\)", (ROOT / "playbooks/site.yml").read_text())
    last = max(path.stem for path in (ROOT / "plugins/filter").glob("*.py"))
    module = importlib.import_module(f"ansible_collections.slm.copilot.plugins.filter.{last}")
    assert asked and asked[1] in module.FilterModule().filters()
