# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's hosts and keys, as tests look at them, and what happens to hosts."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from developers import eventually
from people import FLEET
from testinfra.host import Host

UNIT = "slm-copilot.service"
PROXY = "slm-copilot-proxy.service"
GATEWAY = "slm-copilot-gateway.service"
REBOOT = {"playbook": "playbooks/reboot.yml", "reboot_boot_time_command": "systemctl show --property=UserspaceTimestamp --value"}


class Balancer:
    """The host with LiteLLM, as somebody sees it who logs in there."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def backends(self) -> dict[str, dict[str, Any]]:
        content = json.loads(self.host.check_output("cat /run/slm-copilot-proxy/state/state.json"))
        return {one["id"]: one for one in content["backends"]}

    def served(self) -> dict[str, int]:
        return {name: one["served"] for name, one in self.backends().items()}

    def usable(self) -> set[str]:
        return {name for name, one in self.backends().items() if one["health"] == "ready" and one["state"] == "closed"}

    def wait_for(self, *names: str) -> None:
        eventually(lambda: self.usable() == set(names), f"usable are {', '.join(names)}; there are {self.backends()}")

    def log_since(self, mark: str) -> str:
        return self.host.check_output(f"journalctl --unit={PROXY} --no-pager --output=cat --after-cursor='{mark}'")

    def mark(self) -> str:
        said = self.host.check_output(f"journalctl --unit={PROXY} --no-pager --show-cursor --lines=0")
        return said.rpartition("-- cursor: ")[2].strip()


def key_of(name: str, file: str) -> str:
    """Returns a key out of one of the fleet's files on the controller."""
    lines = (FLEET / file).read_text().splitlines()
    return lines[lines.index(f"# name: {name}") + 1]


def litellms(host: Host) -> set[str]:
    """The processes that serve, or end."""
    return set(host.run("pgrep --uid slm-copilot-proxy python").stdout.split())


def starts(host: Host) -> str:
    """When the host's systemd was started."""
    return host.check_output("systemctl show --property=UserspaceTimestamp --value")


@contextmanager
def machines(*names: str) -> Iterator[None]:
    """Containers end when they reboot. Here something starts them again, as it does with machines."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            subprocess.run(["podman", "start", *names], check=True, capture_output=True)  # nothing happens to those that run

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextmanager
def spoilt(host: Host, spoil: str, mend: str) -> Iterator[None]:
    """Does something bad to a host, and mends it in any case."""
    try:
        host.check_output(spoil)
        yield
    finally:
        host.check_output(mend)
