# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Follows the VMs of a service by OneGate. With the argument drain: lets answers end before the machine goes down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import kept_keys
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import UnixConnection
from ansible_collections.slm.copilot.plugins.module_utils._server.draining import DRAIN_SECONDS, POLL_SECONDS, mark
from ansible_collections.slm.copilot.plugins.module_utils._server.router import NobodyThere, client
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import context, service, settings
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.boot import Boot, Places, address_of
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.onegate import onegate

INTERVAL = 30.0  # seconds between two looks
AFTER_FAILURE = 300.0  # seconds until changes that could not be applied are tried again
DRAIN_AT_MOST = 150.0  # seconds; OpenNebula ends a VM that does not shut down within SHUTDOWN_TIMEOUT of its kvmrc (180 to 300 s)
ROUTER = "/run/slm-copilot-router/router.sock"
ADMIN = {"X-Copilot-Role": "admin"}
TAGS = {service.SERVER: "gateway", service.BALANCER: "balancer,report"}  # what the other VMs are of interest to


class Follower:
    """The other VMs, as this one knows them."""

    def __init__(self, boot: Boot, router: str = ROUTER) -> None:
        self.boot = boot
        self.router = router
        self._published: Mapping[str, str] = {}
        self._said: set[str] = set()

    def run(self) -> None:
        """Looks again and again."""
        while True:
            time.sleep(INTERVAL if self.look() else AFTER_FAILURE)

    def look(self) -> bool:
        """Applies what has changed, and publishes this VM. What is known stays when OneGate does not answer.

        :returns: whether all changes could be applied.
        """
        said: set[str] = set()
        applied = True
        try:
            values, token = context.read(self.boot.places.root)
            role = settings.service_role(values)
            gate = onegate(values, token)
            address = address_of(values)
            others = gate.others()
            found = (
                service.for_balancer(others, said.add)
                if role == service.BALANCER
                else service.for_server(others, gate.vm, said.add)
            )
            if found != self.boot.others():
                if problem := self.boot.apply_others(found, TAGS[role]):
                    applied = False
                    said.add(f"A change of the service could not be applied: {problem} See {self.boot.places.log}")
                else:
                    self.boot.say("A change of the service was applied.")
            attributes = self._attributes(role, address, others) | self.boot.readiness(values)
            if attributes != self._published:
                gate.publish(attributes)
                self._published = attributes
        except (CopilotError, OSError, ValueError, KeyError) as error:
            said.add(f"The other VMs stay as they were: {error}")
        for line in sorted(said - self._said):
            self.boot.say(line)
        self._said = said
        return applied

    def _attributes(self, role: str, address: str, others: Iterable[str]) -> dict[str, str]:
        folder = self.boot.places.fleet
        if role == service.BALANCER:
            keys = kept_keys(str(folder / "backend-keys"))  # also of VMs that have left
            return service.of_balancer({vm: keys[name] for vm in others if (name := service.name_of(vm)) in keys}, address)
        return service.of_server(self.boot.report(), (folder / "ca/ca.pem").read_text(), address, state_of(self.router))


def state_of(socket: str) -> dict[str, Any]:
    """Returns the current state of a router, of which it sends lines. Raises CopilotError."""
    connection = UnixConnection(socket, 10)
    try:
        connection.request("GET", "/router/state", headers=ADMIN)
        found = json.loads(connection.getresponse().readline())
        return dict(found)
    except (OSError, ValueError) as error:
        raise CopilotError(f"the router does not say how it is: {error or type(error).__name__}") from None
    finally:
        connection.close()


def drain(
    say: Callable[[str], None],
    router: str = ROUTER,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Keeps new requests away until the host is down, and waits for answers that are under way."""
    ask, end = client(router, ADMIN), clock() + DRAIN_AT_MOST
    try:
        while busy := sum(mark(ask, DRAIN_SECONDS)["busy"].values()):
            if clock() > end:
                say(f"{busy} requests are aborted: they took longer than {DRAIN_AT_MOST:g} s.")
                return
            sleep(POLL_SECONDS)
    except NobodyThere:
        pass


if __name__ == "__main__":
    if sys.argv[1:] == ["drain"]:
        drain(print)
    else:
        Follower(Boot(Places(), lambda line: print(line, flush=True))).run()
