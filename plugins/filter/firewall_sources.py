# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter about the firewall, over the decisions in module_utils/_access/firewall.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._access.firewall import sources
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

DOCUMENTATION = r"""
name: firewall_sources
short_description: List the networks that may connect to a host
version_added: 0.1.0
description:
  - Turns names of inventory hosts, and networks, into two sorted lists without overlaps, one for each version of IP.
  - A host stands for its C(firewall_addresses), or else for its C(ansible_host) or name, which the controller resolves.
  - Loopback networks are left out, and so is the host itself. Fails when a name cannot be resolved, or stands for no address that
    another host can see.
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  names:
    description: Names of the hosts that are let in.
    type: list
    elements: str
    required: true
  here:
    description: Name of the host whose firewall it is.
    type: str
    required: true
  networks:
    description: Lists of addresses and networks, by the name of the variable that has them, which errors name.
    type: dict
    required: true
  lenient:
    description: Whether a host that cannot be resolved is passed over.
    type: bool
    default: false
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
sources: >-
  {{ hostvars | slm.copilot.firewall_sources(names=groups['copilot_balancers'], here=inventory_hostname,
     networks={'firewall_networks': ['192.0.2.0/24']}) }}
# => {'ipv4': ['100.64.1.5/32', '192.0.2.0/24'], 'ipv6': []}
"""

RETURN = r"""
_value:
  description: Networks, as C(ipv4) and C(ipv6).
  type: dict
"""


def firewall_sources(
    hosts: Any, names: list[str], here: str, networks: dict[str, Any], lenient: bool = False
) -> dict[str, list[str]]:
    try:
        return sources(hosts, names, here, networks, lenient)
    except CopilotError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"firewall_sources": firewall_sources}
