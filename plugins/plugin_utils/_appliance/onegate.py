# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OneGate, by which a virtual machine of OpenNebula publishes what is known of it, and finds the others of its service."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

SECONDS = 30  # for an answer
GONE = (400, 404)  # of a VM that has left the service since it was listed
ACTIVE = "3"  # STATE of a VM that has a host: it runs, or is about to, or ends


@dataclass(frozen=True)
class OneGate:
    """What the token of a VM opens."""

    endpoint: str
    vm: str
    token: str

    def publish(self, attributes: Mapping[str, str]) -> None:
        """Sets attributes of this VM. Whoever can see the VM can read them. Raises CopilotError."""
        lines = "\\n".join(f"{name}={value}" for name, value in attributes.items())
        self._ask("/vm", "PUT", urllib.parse.urlencode({"data": lines, "type": 1}))

    def others(self) -> dict[str, dict[str, str]]:
        """Returns the attributes of the other VMs of the service, by id. Raises CopilotError."""
        service = self._json("/service")
        try:
            ids = [str(int(node["deploy_id"])) for role in service["SERVICE"]["roles"] for node in role["nodes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CopilotError(f"OneGate's answer at /service is not a service: {type(error).__name__}") from None
        if self.vm not in ids:
            raise CopilotError(f"OneGate's answer at /service is of another service, which does not contain the VM {self.vm}")
        found = {one: self._attributes(one) for one in ids if one != self.vm}
        return {one: attributes for one, attributes in found.items() if attributes is not None}

    def _attributes(self, vm: str) -> dict[str, str] | None:
        """Returns None for a VM that does not run."""
        try:
            said = self._json(f"/vms/{vm}")["VM"]
            return {str(name): str(value) for name, value in said["USER_TEMPLATE"].items()} if said["STATE"] == ACTIVE else None
        except _GoneError:
            return None
        except (KeyError, TypeError, AttributeError) as error:
            raise CopilotError(f"OneGate's answer at /vms/{vm} is not a VM: {type(error).__name__}") from None

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._ask(path))
        except ValueError:
            raise CopilotError(f"OneGate's answer at {path} is not JSON") from None

    def _ask(self, path: str, method: str = "GET", data: str | None = None) -> bytes:
        headers = {"X-ONEGATE-TOKEN": self.token, "X-ONEGATE-VMID": self.vm}
        try:
            url = self.endpoint.rstrip("/") + path
            return bytes(open_url(url, method=method, data=data, headers=headers, timeout=SECONDS).read())
        except urllib.error.HTTPError as error:
            kind = _GoneError if path.startswith("/vms/") and error.code in GONE else CopilotError
            raise kind(f"OneGate at {self.endpoint} answers {error.code} to {method} {path}") from None
        except (OSError, ValueError) as error:
            raise CopilotError(f"OneGate at {self.endpoint} does not answer: {error}") from None


class _GoneError(CopilotError):
    """The VM is not there."""


def onegate(context: Mapping[str, str], token: str) -> OneGate:
    """Returns the OneGate of a context. Raises CopilotError when it names none."""
    if not (context.get("ONEGATE_ENDPOINT") and token):
        raise CopilotError("the context has no ONEGATE_ENDPOINT, or no token: set TOKEN=YES in the VM's template")
    return OneGate(context["ONEGATE_ENDPOINT"], context.get("VMID", ""), token)
