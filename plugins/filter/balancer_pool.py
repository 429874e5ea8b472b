# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the backends of a balancer, over the decisions in plugin_utils/_pool.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import server_url
from ansible_collections.slm.copilot.plugins.plugin_utils._pool import addresses, extra_keys, offered, pool

DOCUMENTATION = r"""
name: balancer_pool
short_description: Turn an inventory into the backends of a balancer
version_added: 0.1.0
description:
  - Every server of the inventory is a backend, also one that this run does not reach. Keys are not part of the result.
  - Fails when C(copilot_extra_backends) has an entry that is malformed or there twice, and when the zone of a host is not
    clear and the zone policy needs it.
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  servers:
    description: Names of the hosts that run llama-server.
    type: list
    elements: str
    required: true
  here:
    description: Name of the balancer. The server on the same host is asked by its Unix socket.
    type: str
    required: true
  defaults:
    description:
      - What a host has that sets nothing, C(port) (TCP), C(socket) (path), C(slots), C(model), C(models), C(ca_file),
        C(extra_zone) and C(extra_ca_file).
    type: dict
    required: true
  functional:
    description: Groups that say what a host does, and so are no zones.
    type: list
    elements: str
    default: []
  zone_policy:
    description: V(any), V(prefer_local) or V(local_only). With V(any) a host's zone may be unclear.
    type: str
    default: any
  extra:
    description: Backends outside the inventory, C(key@host:port).
    type: list
    elements: str
    default: []
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
pool: >-
  {{ hostvars | slm.copilot.balancer_pool(servers=groups['copilot_servers'], here=inventory_hostname,
     defaults={'port': 8443, 'socket': '/run/slm-copilot-router/router.sock', 'slots': 2, 'model': 'devstral-small-2',
               'ca_file': '/etc/slm-copilot/ca.pem', 'extra_zone': 'elsewhere', 'extra_ca_file': ''},
     functional=['copilot_servers', 'copilot_balancers']) }}
"""

RETURN = r"""
_value:
  description:
    - C(zone), the balancer's own, and C(backends), a list of dicts with C(id), C(zone), C(slots) (requests at a time),
      C(models) (public name to name at the backend), C(api_base) (URL) and C(ca_file).
  type: dict
"""


def balancer_pool(hosts: Any, servers: list[str], here: str, defaults: dict[str, Any], **options: Any) -> dict[str, Any]:
    try:
        return pool(hosts, servers, here, defaults, **options)
    except CopilotError as error:
        raise AnsibleFilterError(str(error)) from error


def extra_backend_keys(extra: list[Any]) -> dict[str, str]:
    try:
        return extra_keys(extra)
    except CopilotError as error:
        raise AnsibleFilterError(str(error)) from error


def offered_models(hosts: Any, servers: list[str], plans: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    try:
        return offered(hosts, servers, plans, **options)
    except CopilotError as error:
        raise AnsibleFilterError(f"offered_models: {error}") from error


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "balancer_pool": balancer_pool,
            "backend_addresses": addresses,
            "extra_backend_keys": extra_backend_keys,
            "offered_models": offered_models,
            "server_url": server_url,
        }
