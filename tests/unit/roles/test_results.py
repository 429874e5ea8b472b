# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a role keeps for itself is nobody else's business, and what it sets for others is documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.action.variables_check import documented_variables, results

ROOT = Path(__file__).resolve().parents[3]
ROLES = ROOT / "roles"
NAMES = sorted((path.name for path in ROLES.iterdir()), key=len, reverse=True)
PRIVATE = re.compile(rf"\b__({'|'.join(NAMES)})_\w+")
WITH_TEMPLATES = (".yml", ".j2", ".md")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in WITH_TEMPLATES)


def strangers(path: Path, text: str) -> list[str]:
    """Returns the private names in a file that are another role's."""
    own = path.relative_to(ROLES).parts[0] if path.is_relative_to(ROLES) else None
    return [found[0] for found in PRIVATE.finditer(text) if found[1] != own]


@pytest.mark.parametrize("folder", ["examples", "playbooks", "roles"])
def test_private_names_stay_in_their_role(folder: str) -> None:
    found = {str(path.relative_to(ROOT)): strangers(path, path.read_text()) for path in sources(folder)}
    assert found, "nothing was looked at"
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        pytest.param(ROLES / "tls/vars/main.yml", "{{ __tls_ca }}", [], id="own"),
        pytest.param(ROLES / "tune/vars/main.yml", "{{ __tls_ca }}", ["__tls_ca"], id="of another role"),
        pytest.param(ROLES / "client_config/x.yml", "__client_certificates_x", ["__client_certificates_x"], id="longer name"),
        pytest.param(ROOT / "playbooks/site.yml", "a: __base_x", ["__base_x"], id="in a playbook"),
    ],
)
def test_what_counts_as_another_role_s_name(path: Path, text: str, names: list[str]) -> None:
    assert strangers(path, text) == names


def set_by(role: str) -> dict[str, Any]:
    """Returns the variables that a role sets and does not keep for itself, with what its files say of their parts."""
    found: dict[str, Any] = {}
    for path in ROLES.joinpath(role, "vars").rglob("*.yml"):
        found.update(yaml.safe_load(path.read_text()) or {})
    for path in ROLES.joinpath(role, "tasks").rglob("*.yml"):
        text = path.read_text()
        found.update(dict.fromkeys(re.findall(r"^ *register: (\w+)", text, re.MULTILINE)))
        for task in yaml.safe_load(text):
            found.update(task.get("ansible.builtin.set_fact", {}))
    return {name: value for name, value in found.items() if not name.startswith("__")}


def documented(role: str) -> dict[str, Any]:
    path = ROLES / role / "meta/results.yml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize("role", NAMES)
def test_what_a_role_sets_for_others_is_documented(role: str) -> None:
    known = documented(role)
    values = {name: value for name, value in set_by(role).items() if name not in documented_variables()}
    assert sorted(values) == sorted(known)
    for name, value in values.items():
        assert name.startswith(f"{role}_")
        if isinstance(value, dict):  # else a module returns it, whose documentation says what is in it
            assert sorted(value) == sorted(known[name]["contains"]), name


def test_documented_results_are_known_and_no_settings() -> None:
    assert {"copilot_result", "base_result", "tls_result"} <= results()
    assert results() & documented_variables() == set()


@pytest.mark.parametrize("folder", ["examples", "playbooks", "roles"])
def test_only_documented_parts_are_used(folder: str) -> None:
    known = {name: set(spec["contains"]) for role in NAMES for name, spec in documented(role).items()}
    parts = re.compile(rf"\b({'|'.join(known)})\.(\w+)")
    used = [(path, *found) for path in sources(folder) for found in parts.findall(path.read_text())]
    assert used
    assert [(str(path), name, part) for path, name, part in used if part not in known[name]] == []
