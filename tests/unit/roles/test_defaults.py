# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Defaults, argument specifications and READMEs of the roles say the same, and all of them what the support matrix says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.slm.copilot.plugins.module_utils._host.platforms import PLATFORMS, supported
from ansible_collections.slm.copilot.plugins.module_utils._model.advice import CONTEXT_CHECKPOINTS

role_readmes = pytest.importorskip("role_readmes")

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
TYPES = {"str": str, "path": str, "int": int, "bool": bool, "list": list, "dict": dict, "float": float, "raw": object}


def load(role: str, file: str) -> dict[str, Any]:
    path = ROLES / role / file
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def options(role: str) -> dict[str, Any]:
    return load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def computed(default: Any) -> bool:
    return isinstance(default, str) and "{{" in default


@pytest.mark.parametrize("role", NAMES)
def test_every_default_is_documented_with_its_value(role: str) -> None:
    """But one that is computed and is no text: antsibull-docs would take the expression for a value of the wrong type."""
    defaults = load(role, "defaults/main.yml")
    specs = options(role)
    assert sorted(specs) == sorted(defaults)
    for name, default in defaults.items():
        if computed(default) and specs[name]["type"] not in ("str", "path", "raw"):
            assert "default" not in specs[name], name
        else:
            assert specs[name].get("default") == default, name


@pytest.mark.parametrize("role", NAMES)
def test_defaults_have_the_documented_type(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    for name, option in options(role).items():
        default = defaults[name]
        if not computed(default):
            assert isinstance(default, TYPES[option["type"]]), name
            chosen = default if isinstance(default, list) else [default]
            assert "choices" not in option or set(chosen) <= set(option["choices"]), name


@pytest.mark.parametrize("role", NAMES)
def test_names_begin_with_the_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", NAMES)
def test_the_readme_has_a_section_for_each_variable_and_no_more(role: str) -> None:
    sections = [line.split("`")[1] for line in (ROLES / role / "README.md").read_text().splitlines() if line.startswith("### `")]
    first = [f"{role}_{name}" for name in role_readmes.FIRST.get(role, "").split()]
    assert sections == first + [name for name in options(role) if name not in first]


@pytest.mark.parametrize(
    ("staging", "host"),
    [
        pytest.param(False, "acme-v02.api.letsencrypt.org", id="for good"),
        pytest.param(True, "acme-staging-v02.api.letsencrypt.org", id="rehearsal"),
    ],
)
def test_the_acme_server_follows_the_switch(staging: bool, host: str) -> None:
    template = trust_as_template(load("tls", "defaults/main.yml")["tls_acme_directory"])
    url = Templar(DataLoader(), variables={"tls_acme_staging": staging}).template(template)
    assert url == f"https://{host}/directory"


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        pytest.param({"lo": {"ipv4": {}, "ipv6": [{"address": "::1"}]}}, "::", id="IPv4 and IPv6"),
        pytest.param({"lo": {"ipv4": {}}}, "0.0.0.0", id="no IPv6"),
        pytest.param({}, "0.0.0.0", id="not known"),
    ],
)
def test_the_gateway_listens_on_all_that_there_is(facts: dict[str, Any], address: str) -> None:
    template = trust_as_template(load("gateway", "defaults/main.yml")["gateway_bind"])
    assert Templar(DataLoader(), variables={"ansible_facts": facts}).template(template) == address


@pytest.mark.parametrize("role", NAMES)
def test_every_role_names_the_platforms_that_are_tested(role: str) -> None:
    platforms = load(role, "meta/main.yml")["galaxy_info"]["platforms"]
    assert platforms == [{"name": "Debian", "versions": [one.codename for one in PLATFORMS if one.tested]}]


def test_the_documentation_has_the_support_matrix() -> None:
    assert supported() in " ".join((ROLES.parent / "docs/getting-started.md").read_text().split())


def test_advice_counts_the_checkpoints_that_servers_have() -> None:
    assert load("llama_server", "defaults/main.yml")["llama_server_context_checkpoints"] == CONTEXT_CHECKPOINTS
