# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: virtual machines whose contexts can be changed."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
sys.path[:0] = [str(PROJECT / "molecule/resources"), str(PROJECT / "molecule/opennebula"), str(PROJECT / ".collections")]

import contexts
from developers import Client, eventually
from journal import journal_of, shown_on_failure

FOLDERS = PROJECT / ".cache/molecule/opennebula"
MINUTES = 10


class VM:
    """A virtual machine, as somebody sees it who is root there."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.host = testinfra.get_host(f"podman://opennebula-{name}")

    def run(self, command: str) -> str:
        return self.host.check_output(command)

    def read(self, path: str) -> str:
        return self.host.file(path).content_string if self.host.file(path).exists else ""

    def status(self) -> str:
        return self.read("/etc/one-appliance/status").strip()

    def wait(self, *words: str) -> str:
        """Waits until the boot has come to an end, as one of these words says."""
        eventually(lambda: self.status() in words, f"{self.name}: {words}", seconds=60 * MINUTES, every=2)
        return self.status()

    def config(self, name: str) -> str:
        return self.run(f"sed -n 's/^{name} *= //p' /etc/one-appliance/config")

    def developer(self, tmp_path: Path) -> Client:
        ca = tmp_path / f"{self.name}.pem"
        ca.write_text(self.read("/etc/slm-copilot/ca.pem"))
        return Client(self.config("api_key"), self.address, ca, self.config("model"))

    def set(self, started: int = contexts.STARTED, **changes: str | None) -> None:
        """Changes the context, as the front-end does with a new CD-ROM."""
        values = contexts.VMS[self.name] | changes
        contexts.write(self.folder, {name: value for name, value in values.items() if value is not None}, started)

    def apply(self) -> int:
        """What a boot does, and what OpenNebula's context package calls when the context has changed."""
        return self.host.run("/opt/slm-copilot/appliance/boot").rc


@pytest.fixture(scope="session")
def vms() -> dict[str, VM]:
    addresses = {"first": "10.89.88.11", "plain": "10.89.88.12", "balancer": "10.89.88.13", "second": "10.89.88.14"}
    return {name: VM(name, address, FOLDERS / name) for name, address in addresses.items()}


@pytest.fixture(scope="session")
def first(vms: dict[str, VM]) -> VM:
    vms["first"].wait("bootstrap_success", "bootstrap_failure", "configure_failure")
    return vms["first"]


@pytest.fixture(scope="session")
def plain(vms: dict[str, VM]) -> VM:
    vms["plain"].wait("bootstrap_success", "bootstrap_failure", "configure_failure")
    return vms["plain"]


def told_to_onegate(vmid: str) -> dict[str, str]:
    with urllib.request.urlopen("http://10.89.88.2:5030/_attributes", timeout=10) as answer:
        return json.load(answer).get(vmid, {})


def at_the_front_end(**control: Any) -> None:
    """Changes the service, as somebody does at the front-end: roles, started or failing."""
    request = urllib.request.Request("http://10.89.88.2:5030/_control", json.dumps(control).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(autouse=True)
def logs(request: pytest.FixtureRequest, vms: dict[str, VM]) -> Iterator[None]:
    """Prints what the boots said when a test fails."""
    with shown_on_failure(
        request, lambda: "".join(journal_of(vm.host, "slm-copilot-appliance", "slm-copilot-service") for vm in vms.values())
    ):
        yield
