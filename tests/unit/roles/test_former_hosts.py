# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host is no longer is removed from it, and nothing else: as the playbook decides by the units that it finds there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[3]
PLAY = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())[0]
REMOVE = next(task for task in PLAY["tasks"] if "site_removals" in task.get("vars", {}))
SERVER, ROUTER = "slm-copilot.service", "slm-copilot-router.service"
MONITOR, EXPORTER = "slm-copilot-prometheus.service", "slm-copilot-node-exporter.service"
VIRTUAL_IP = "slm-copilot-virtual-ip.service"
PROXY, FIREWALL, PINNED = "slm-copilot-proxy.service", "slm-copilot-firewall.service", "slm-copilot-pinned.service"
HOST = "slm-copilot-host.service"
SERVED = ["slm-copilot-gateway.service", SERVER, ROUTER]


def trusted(value: object) -> object:
    if isinstance(value, list):
        return [trusted(one) for one in value]
    if isinstance(value, dict):
        return {name: trusted(one) for name, one in value.items()}
    return trust_as_template(value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("units", "server", "balancer", "firewall", "removed"),
    [
        pytest.param([], True, True, True, [], id="new host"),
        pytest.param(SERVED, True, False, False, [], id="server as before"),
        pytest.param([*SERVED, PROXY, FIREWALL], True, True, True, [], id="all that there is"),
        pytest.param([*SERVED, PROXY], False, True, False, [ROUTER, SERVER], id="server of once stays a balancer"),
        pytest.param(SERVED, False, True, False, [ROUTER, SERVER], id="server becomes a balancer"),
        pytest.param([*SERVED, PROXY], True, False, False, [PROXY], id="balancer of once stays a server"),
        pytest.param([*SERVED, FIREWALL], True, False, False, [FIREWALL], id="firewall of once"),
        pytest.param([*SERVED, PROXY, VIRTUAL_IP], True, True, False, [VIRTUAL_IP], id="address of once"),
        pytest.param([*SERVED, MONITOR], True, False, False, [MONITOR], id="monitor of once"),
        pytest.param([*SERVED, EXPORTER], True, False, False, [EXPORTER], id="watched once"),
        pytest.param([*SERVED, HOST], True, False, False, [HOST], id="settings of once"),
        pytest.param([PROXY, HOST], False, True, False, [HOST], id="settings of a server of once"),
        pytest.param([*SERVED, PINNED], True, False, False, [PINNED], id="unit of an earlier release"),
    ],
)
def test_what_a_host_is_no_longer_is_removed(
    units: list[str], server: bool, balancer: bool, firewall: bool, removed: list[str]
) -> None:
    host = {
        "copilot_result": {"server": server, "balancer": balancer, "monitor": False},
        "copilot_firewall": firewall,
        "copilot_tune_host": removed == [],
        "copilot_monitoring": False,
        "copilot_virtual_ip": "",
        "base_result": {"units": units},
    }
    templar = Templar(DataLoader(), variables={**host, **trusted(REMOVE["vars"])})
    assert [one["unit"] for one in templar.template(trusted(REMOVE["loop"]))] == removed


@pytest.mark.parametrize("removal", REMOVE["vars"]["site_removals"], ids=lambda one: one["unit"])
def test_each_removal_has_its_tasks(removal: dict[str, str]) -> None:
    tasks = ROOT / "roles" / removal["role"].rpartition(".")[2] / "tasks" / f"{removal['tasks']}.yml"
    stopped = [task for task in yaml.safe_load(tasks.read_text()) if "ansible.builtin.systemd_service" in task]
    assert stopped, "it is stopped before its unit goes"
