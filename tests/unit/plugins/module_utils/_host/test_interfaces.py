# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host.interfaces import interface_of

FACTS = {
    "all_ipv4_addresses": ["192.0.2.10", "192.0.2.11"],
    "default_ipv4": {"address": "192.0.2.10", "interface": "enp1s0"},
    "enp1s0": {
        "device": "enp1s0",
        "ipv4": {"address": "192.0.2.10", "prefix": "24"},
        "ipv4_secondaries": [{"address": "192.0.2.11", "prefix": "24"}],
    },
    "br_lan": {"device": "br-lan", "ipv6": [{"address": "fd00::5", "prefix": "64"}, {"address": "fe80::1", "prefix": "64"}]},
    "lo": {"device": "lo", "ipv4": {"address": "127.0.0.1"}},
    "bare": {"device": "bare"},
}


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        pytest.param("192.0.2.10", "enp1s0", id="first address"),
        pytest.param("192.0.2.11", "enp1s0", id="another address"),
        pytest.param("fd00::5", "br-lan", id="IPv6, and a name that is no variable's"),
        pytest.param("192.0.2.12", "", id="nobody's"),
    ],
)
def test_the_interface_of_an_address(address: str, interface: str) -> None:
    assert interface_of(FACTS, address) == interface
