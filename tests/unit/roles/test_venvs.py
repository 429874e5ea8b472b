# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How venvs on hosts are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMED = [
    (name, value)
    for path in sorted(ROLES.glob("*/vars/**/*.yml"))
    for name, value in (yaml.safe_load(path.read_text()) or {}).items()
    if "'requirements.txt') | hash" in str(value)
]


@pytest.mark.parametrize(("name", "value"), NAMED, ids=[name for name, _value in NAMED])
def test_a_new_release_of_the_system_gets_a_new_venv(name: str, value: str) -> None:
    """The Python that an old one links to is gone."""
    assert "ansible_facts['distribution_major_version']" in value


def test_there_are_three() -> None:
    assert len(NAMED) == 3
