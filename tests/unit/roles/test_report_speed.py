# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the report says of speeds, and of the host's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[3] / "roles/report"
FIGURES = [{"chosen": True, "prompt_tokens_per_second": 65.5, "generated_tokens_per_second": 8.25}]
TUNED = {"tuning": {"tiny": {"figures": FIGURES}}, "settings": {"tiny": {}}}
SLOW, QUICK = {"prompt": 61.24, "generated": 7.96}, {"prompt": 612.4, "generated": 79.6}
HOST = {"governor": "powersave", "huge_pages": "always", "swap_mib": 0, "numa_nodes": 1, "numa_balancing": False}
NOW = {
    **{"endpoint": "https://a:8443/v1", "mode": "standalone", "balancers": [], "model": "tiny", "ca_certificate": "/ca.pem"},
    **{"models": [{"name": "tiny"}], "certificate": {"path": "/c.pem", "not_after": ""}, "context_size": 4096, "slots": 2},
    **{"cpu": "some", "cpu_variant": "zen4", "backends": [], "warnings": [], "host": {**HOST, "advice": ["Use performance."]}},
}
USUAL = {
    **{
        "copilot_result": {"server": True, "balancer": False, "acme": False},
        "copilot_model": "tiny",
        "report_result": {"now": NOW},
    },
    **{"__report_api_key": "k", "__report_without_tools": [], "__report_logs": "journalctl", "__report_clients": {}},
    **{"report_machines_path": "/r.json", "copilot_port": 8443, "report_endpoint": "https://a:8443", "report_ca_path": "/ca.pem"},
    "ansible_managed": "Ansible managed",
}


def rendered(text: str, **known: Any) -> Any:
    variables = {
        name: trust_as_template(one)
        for name, one in yaml.safe_load((ROLE / "vars/main.yml").read_text()).items()
        if isinstance(one, str)
    }
    return Templar(DataLoader(), variables={**variables, **USUAL, **known}).template(trust_as_template(text))


def speeds(expected: dict[str, Any], models: list[str], **known: Any) -> Any:
    known = {"llama_server_result": {"expected": expected}, "__report_models_here": [{"name": one} for one in models], **known}
    return rendered("{{ __report_speeds }}", **known)


def test_the_speed_of_the_one_model_has_its_name() -> None:
    assert speeds({"model": SLOW}, ["tiny"]) == {"tiny": {"expected": {"prompt": 61.2, "generated": 8.0}}}


def test_what_was_measured_since_stands_beside() -> None:
    measured = {"prompt": 65.5, "generated": 8.25}
    assert speeds({"model": SLOW}, ["tiny"], llama_server_tuned=TUNED)["tiny"]["measured"] == measured
    stale = {**TUNED, "settings": {}}
    assert "measured" not in speeds({"model": SLOW}, ["tiny"], llama_server_tuned=stale)["tiny"], "of another engine, say"


def test_several_models_have_their_own() -> None:
    found = speeds({"tiny": QUICK, "model": SLOW}, ["tiny", "model"])
    assert {name: one["expected"]["prompt"] for name, one in found.items()} == {"tiny": 612.4, "model": 61.2}


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({"llama_server_result": {"expected": {}}}, id="not_measured"),
        pytest.param({"llama_server_result": {"plan": None}}, id="nothing_planned"),
        pytest.param({}, id="a_balancer"),
    ],
)
def test_nothing_is_said_where_nothing_is_known(known: dict[str, Any]) -> None:
    assert rendered("{{ __report_speeds }}", __report_models_here=[{"name": "tiny"}], **known) == {}


def page(found: dict[str, Any]) -> list[str]:
    text = (ROLE / "templates/config.j2").read_text()
    return str(rendered(text, report_result={"now": {**NOW, "speeds": found}})).splitlines()


def section(lines: list[str], name: str) -> list[str]:
    after = lines[lines.index(f"[{name}]") + 1 :]
    return after[: after.index("")]


def test_people_read_it() -> None:
    one = {"expected": {"prompt": 61.2, "generated": 8.0}}
    lines = page({"tiny": {**one, "measured": {"prompt": 65.5, "generated": 8.25}}, "other": one})
    assert section(lines, "Speed")[1:] == ["tiny = 61.2 and 8.0, measured 65.5 and 8.25", "other = 61.2 and 8.0"]
    assert section(lines, "Host") == [*(f"{name} = {value}" for name, value in HOST.items()), "advice 1 = Use performance."]


def test_a_host_that_was_not_measured_has_no_section() -> None:
    assert "[Speed]" not in page({})
