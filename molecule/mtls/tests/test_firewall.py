# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firewall is there before the network, whatever else is done with nftables. tests/contract holds who gets through it."""

from __future__ import annotations

import pytest
from testinfra.host import Host

TABLE = "inet slm_copilot"


def tables(host: Host) -> list[str]:
    return [line.removeprefix("table ") for line in host.check_output("nft list tables").splitlines()]


def test_the_firewall_guards_the_port_of_the_api_and_nothing_else(server: Host) -> None:
    rules = server.check_output(f"nft --stateless list table {TABLE}")
    assert [line.split()[2] for line in rules.splitlines() if "dport" in line] == ["8443"]
    assert "fd00:10:89:82::/64" in rules


def test_it_comes_before_the_network(server: Host) -> None:
    assert server.service("slm-copilot-firewall").is_enabled
    order = "systemctl show slm-copilot-firewall --property Before --value"
    assert "network-pre.target" in server.check_output(order)


@pytest.mark.parametrize("action", ["start", "reload", "restart", "stop"])
def test_the_distributions_own_service_does_not_remove_it(server: Host, action: str) -> None:
    server.run_test("systemctl reload-or-restart nftables")
    server.check_output(f"systemctl {action} nftables")
    assert TABLE in tables(server)
    server.check_output("systemctl stop nftables")
    assert tables(server) == [TABLE]
