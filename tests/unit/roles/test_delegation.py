# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs on the controller runs as the operator, whatever the inventory says of hosts.

The keyword become is weaker than the variable ansible_become of an inventory, which holds for localhost, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
FILES = sorted([*PROJECT.glob("roles/*/tasks/*.yml"), *PROJECT.glob("playbooks/*.yml")])


def tasks_of(entries: Any) -> Iterator[dict[str, Any]]:
    for entry in entries or []:
        yield entry
        for part in ("pre_tasks", "tasks", "post_tasks", "block", "rescue", "always"):
            yield from tasks_of(entry.get(part))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_delegated_tasks_do_not_become_root(file: Path) -> None:
    for task in tasks_of(yaml.safe_load(file.read_text())):
        assert task.get("become") is not False, "use the variable ansible_become"
        if task.get("delegate_to") == "localhost":
            assert task.get("vars", {}).get("ansible_become") is False, task["name"]
