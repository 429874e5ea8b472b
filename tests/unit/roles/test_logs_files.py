# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes into an archive of logs is what the roles write."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.modules.logs_info import CONFIGURATION

ROLES = Path(__file__).resolve().parents[3] / "roles"
TEXT = "\n".join(path.read_text() for folder in ("tasks", "vars", "defaults") for path in ROLES.glob(f"*/{folder}/**/*.yml"))


@pytest.mark.parametrize("name", CONFIGURATION)
def test_each_file_is_written_by_a_role(name: str) -> None:
    assert f"/{name.rpartition('/')[2]}" in TEXT
