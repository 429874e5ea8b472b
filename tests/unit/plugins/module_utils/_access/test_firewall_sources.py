# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import socket

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.firewall import (
    host_address,
    host_networks,
    parse_network,
    resolved,
    sources,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

NAMES = {
    "lb.example": ["192.0.2.5", "2001:db8::5", "192.0.2.5"],
    "here.example": ["127.0.1.1"],
    "half.example": ["127.0.1.1", "fe80::1%eth0", "192.0.2.6"],
    "monitor": ["2001:db8::9"],
}


def resolve(name):
    if name not in NAMES:
        raise socket.gaierror(-2, "Name or service not known")
    return NAMES[name]


@pytest.mark.parametrize(
    ("text", "network"),
    [
        pytest.param("10.0.0.0/8", "10.0.0.0/8", id="a network"),
        pytest.param("192.0.2.7", "192.0.2.7/32", id="an address"),
        pytest.param("fd00::/8", "fd00::/8", id="IPv6"),
        pytest.param("0.0.0.0/0", "0.0.0.0/0", id="everybody"),
    ],
)
def test_a_network_is_read(text, network):
    assert str(parse_network(text, "x")) == network


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        pytest.param(
            "10.1.2.3/8", r"copilot_firewall_allow has '10.1.2.3/8', .* write 10.0.0.0/8 .* or 10.1.2.3 for", id="host bits"
        ),
        pytest.param("10.0.0.0/33", "copilot_firewall_allow has '10.0.0.0/33': give an address or a network", id="too long"),
        pytest.param("office.example", "copilot_firewall_allow has 'office.example': give an address", id="a name"),
        pytest.param("10.0.0.0/8 } accept; drop", "give an address or a network", id="rules"),
        pytest.param("", "copilot_firewall_allow has '': give", id="empty"),
        pytest.param(10, "copilot_firewall_allow has 10: give strings", id="a number"),
        pytest.param(None, "copilot_firewall_allow has None: give strings", id="null"),
    ],
)
def test_what_is_no_network_is_refused(entry, problem):
    with pytest.raises(CopilotError, match=problem):
        sources({}, [], "here", {"copilot_firewall_allow": [entry]})


@pytest.mark.parametrize("entries", ["10.0.0.0/8", {"10.0.0.0/8": True}, None], ids=["a string", "a mapping", "null"])
def test_what_is_no_list_is_refused(entries):
    with pytest.raises(CopilotError, match=r"copilot_firewall_allow is .*: give a list"):
        sources({}, [], "here", {"copilot_firewall_allow": entries})


@pytest.mark.parametrize(
    ("name", "variables", "networks"),
    [
        pytest.param("lb", {"ansible_host": "192.0.2.1"}, ["192.0.2.1/32"], id="an address"),
        pytest.param("lb", {"ansible_host": "2001:db8::1"}, ["2001:db8::1/128"], id="an IPv6 address"),
        pytest.param("lb", {"ansible_host": "lb.example"}, ["192.0.2.5/32", "2001:db8::5/128", "192.0.2.5/32"], id="a name"),
        pytest.param("monitor", {}, ["2001:db8::9/128"], id="the inventory's name"),
        pytest.param("lb", {"ansible_host": "half.example"}, ["192.0.2.6/32"], id="some that only the controller sees"),
        pytest.param(
            "lb",
            {"ansible_host": "unknown.example", "firewall_addresses": ["198.51.100.0/24", "fd00::1"]},
            ["198.51.100.0/24", "fd00::1/128"],
            id="what the inventory says instead",
        ),
    ],
)
def test_a_host_stands_for_its_addresses(name, variables, networks):
    assert [str(one) for one in host_networks(name, variables, resolve)] == networks


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        pytest.param(
            {"ansible_host": "gone.example"},
            r"cannot resolve 'gone.example' \(.*not known\). Set firewall_addresses for lb",
            id="gone",
        ),
        pytest.param({}, "cannot resolve 'lb'", id="a name of the inventory alone"),
        pytest.param(
            {"ansible_host": "here.example"},
            "here.example is 127.0.1.1, which other hosts cannot reach. Set firewall_addresses for lb",
            id="here",
        ),
        pytest.param({"ansible_host": "127.0.0.1"}, "which other hosts cannot reach", id="a tunnel"),
        pytest.param({"firewall_addresses": "192.0.2.1"}, "firewall_addresses of lb is '192.0.2.1': give a list", id="no list"),
        pytest.param(
            {"firewall_addresses": ["lb.example"]}, "firewall_addresses of lb has 'lb.example': give an address", id="no address"
        ),
    ],
)
def test_a_host_without_addresses_is_refused(variables, problem):
    with pytest.raises(CopilotError, match=problem):
        host_networks("lb", variables, resolve)


HOSTS = {
    "lb-1": {"ansible_host": "10.0.0.1"},
    "lb-2": {"ansible_host": "lb.example"},
    "monitor": {},
    "local": {"ansible_host": "localhost"},
}


@pytest.mark.parametrize(
    ("names", "networks", "expected"),
    [
        pytest.param([], {}, {"ipv4": [], "ipv6": []}, id="nobody"),
        pytest.param(
            ["lb-2", "monitor", "lb-1", "lb-1"],
            {},
            {"ipv4": ["10.0.0.1/32", "192.0.2.5/32"], "ipv6": ["2001:db8::5/128", "2001:db8::9/128"]},
            id="hosts in a stable order, each once",
        ),
        pytest.param(["local"], {"a": ["10.0.0.0/24"]}, {"ipv4": ["10.0.0.0/24"], "ipv6": []}, id="not the host itself"),
        pytest.param(
            ["lb-1"],
            {"a": ["10.0.0.0/9", "10.128.0.0/9"], "b": ["127.0.0.0/8", "::1", "10.1.0.0/16"]},
            {"ipv4": ["10.0.0.0/8"], "ipv6": []},
            id="no overlaps and no loopback",
        ),
        pytest.param(["lb-2"], {"a": ["0.0.0.0/0", "::/0"]}, {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}, id="everybody"),
    ],
)
def test_sources_are_those_of_hosts_and_networks(names, networks, expected):
    assert sources(HOSTS, names, "local", networks, resolve=resolve) == expected


def test_names_are_resolved_by_the_system():
    assert set(resolved("localhost")) <= {"127.0.0.1", "::1"}


def test_who_cannot_be_resolved_is_passed_over_where_that_does_no_harm():
    hosts = {**HOSTS, "lost": {"ansible_host": "gone.example"}}
    assert sources(hosts, ["lost", "lb-1"], "local", {}, lenient=True, resolve=resolve)["ipv4"] == ["10.0.0.1/32"]
    with pytest.raises(CopilotError, match="cannot resolve"):
        sources(hosts, ["lost", "lb-1"], "local", {}, resolve=resolve)


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param({"ansible_host": "192.0.2.7"}, "192.0.2.7", id="an address"),
        pytest.param(
            {"ansible_host": "lb.example", "firewall_addresses": ["10.0.0.1"]}, "192.0.2.5", id="a name, and not behind NAT"
        ),
        pytest.param({}, "2001:db8::9", id="its own name"),
        pytest.param({"ansible_host": "here.example"}, "here.example", id="a name that means this machine here"),
        pytest.param({"ansible_host": "lost.example"}, "lost.example", id="a name that only hosts know"),
    ],
)
def test_the_address_that_others_reach_a_host_by(variables, address):
    assert host_address({"monitor": variables}, "monitor", resolve) == address
