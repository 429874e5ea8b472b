# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reserve of the memory plan knows what else runs on the host, and the units say who goes first when memory ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import Host

ROLES = Path(__file__).resolve().parents[3] / "roles"
SERVER, BOTH = {"copilot_fleet_balancers": []}, {"copilot_fleet_balancers": ["host"]}


def variables(*files: str) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for file in files:
        known |= yaml.safe_load((ROLES / file).read_text())
    return {name: trusted(value) for name, value in known.items()}


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: trusted(one) for name, one in value.items()}
    return trust_as_template(value) if isinstance(value, str) else value


# In the playbooks models and tune, the roles gateway and litellm_lb are not there.
ALONE = ("copilot/defaults/main.yml", "copilot/vars/main.yml", "llama_server/defaults/main.yml")
WITH_ALL = (*ALONE, "gateway/defaults/main.yml", "litellm_lb/defaults/main.yml", "router/defaults/main.yml")


def reserve(files: tuple[str, ...], **changes: Any) -> int:
    known = {"inventory_hostname": "host", **variables(*files), **changes}
    return int(Templar(DataLoader(), variables=known).template(known["llama_server_reserve_mib"]))


@pytest.mark.parametrize("files", [pytest.param(ALONE, id="models_and_tune"), pytest.param(WITH_ALL, id="site")])
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(SERVER, Host.reserve_mib, id="server"),
        pytest.param(BOTH, 4096, id="balancer_too"),
        pytest.param({**BOTH, "litellm_lb_memory_max_mib": 1000}, 3048, id="smaller_proxy"),
        pytest.param({**SERVER, "gateway_connections": 1024}, 2592, id="more_connections"),
        pytest.param({**SERVER, "copilot_context_size": "auto"}, 2560, id="auto_context"),
        pytest.param({**SERVER, "copilot_context_size": 131072}, 2560, id="long_context"),
        pytest.param({**SERVER, "gateway_body_max_bytes": 8 << 20}, 5632, id="larger_bodies_by_choice"),
        pytest.param({**SERVER, "copilot_monitoring": True}, 2112, id="watched"),
        pytest.param({**SERVER, "router_memory_max_mib": 1024}, 2560, id="larger_router"),
    ],
)
def test_the_reserve_knows_what_else_runs_there(files: tuple[str, ...], host: dict[str, Any], expected: int) -> None:
    assert reserve(files, **host) == expected


def unit(role: str, name: str) -> str:
    return (ROLES / role / "templates" / f"{name}.service.j2").read_text()


def test_the_engine_ends_before_what_serves_it() -> None:
    order = [
        ("llama_server", "slm-copilot"),
        ("router", "slm-copilot-router"),
        ("litellm_lb", "slm-copilot-proxy"),
        ("gateway", "slm-copilot-gateway"),
    ]
    adjusted = [int(re.findall(r"^OOMScoreAdjust=(-?\d+)$", unit(*one), re.MULTILINE)[0]) for one in order]
    engine, *others = adjusted
    assert engine > 0 > max(others)
    assert adjusted == sorted(adjusted, reverse=True)


def test_no_model_is_in_swap_and_one_of_several_ends_alone() -> None:
    text = unit("llama_server", "slm-copilot")
    assert "\nMemorySwapMax=0\n" in text
    assert re.search(r"if __llama_server_several %}\n[^{]*OOMPolicy=continue\n{% endif", text)


def test_the_gateway_is_held_to_the_share_that_is_set_aside() -> None:
    assert "\nMemoryMax={{ copilot_layout.gateway_memory_max_mib }}M\n" in unit("gateway", "slm-copilot-gateway")
