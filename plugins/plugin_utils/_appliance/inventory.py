# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory of an appliance: itself, and what OneGate says of the other VMs of its service.

Values from elsewhere are never templated.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._image.root import HOME

HOST = "copilot"  # this VM; a name that stays when the VM's changes
_HEADERS = {
    "server": "# The balancers of the service, which OneGate knows. Changes are lost.",
    "balancer": "# The servers of the service, which OneGate knows. Changes are lost.",
}


def of_this_vm(variables: Mapping[str, Any], image: Mapping[str, Any], address: str, balancer: bool) -> str:
    """Returns the inventory of this VM.

    :param variables: from the context.
    :param image: image.json.
    """
    ours = {
        "ansible_connection": "local",
        "ansible_host": address,
        "ansible_python_interpreter": "/usr/bin/python3",
        "copilot_model": image["model"],
        "copilot_catalogue": image["catalogue"],
        "copilot_bundle": f"/{HOME}/bundle",
        "copilot_bundle_key": f"/{HOME}/bundle.pub",
        "bundle_acme": True,
    }
    groups = ["copilot_servers"] + ["copilot_balancers"] * balancer
    lines = [
        "# Written at each boot from the context. Changes are lost: set ONEAPP_COPILOT_* in the VM's template.",
        *(f"{group}:\n  hosts: {{{HOST}: }}" for group in groups),
        f"all:\n  hosts:\n    {HOST}: {_untemplated(ours | dict(variables))}",
    ]
    return "\n".join(lines) + "\n"


def is_of(role: str, text: str) -> bool:
    """Whether a text is an inventory of the other VMs, as a VM of this role has it."""
    return text.startswith(_HEADERS[role])


def of_balancers(balancers: Sequence[Mapping[str, str]]) -> str:
    """Returns what a server's inventory says of balancers: ``address`` and ``key_sha256`` of each."""
    variables = {"copilot_extra_balancers": [dict(one) for one in balancers]}
    return f"{_HEADERS['server']}\nall:\n  hosts:\n    {HOST}: {_untemplated(variables)}\n"


def of_servers(servers: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns what a balancer's inventory says of servers: their variables, by name. They are backends, and not in the play."""
    hosts = [f"    {name}: {_untemplated(variables)}" for name, variables in sorted(servers.items())]
    return "\n".join([_HEADERS["balancer"], "copilot_servers:", "  hosts:" if hosts else "  hosts: {}", *hosts]) + "\n"


def _untemplated(variables: Mapping[str, Any]) -> str:
    """Returns a mapping in YAML, for a host. As a tag of a string alone, !unsafe would make a number of one with digits only."""
    return "!unsafe\n" + textwrap.indent(json.dumps(variables, indent=1, sort_keys=True), " " * 6)
