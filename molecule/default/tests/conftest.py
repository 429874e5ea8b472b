# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

import developers
import people
from journal import journal_of, shown_on_failure

ADDRESSES = people.PROJECT / "molecule/default/inventory/addresses.yml"
ADDRESS = "10.89.78.11"


class Operator(people.Operator):
    """The other hosts are servers only where a test says so."""

    def command(self, *arguments: str, host: str = "copilot-default", **options: Any) -> list[str]:
        self.limit = f"{host}:localhost"
        return super().command(*arguments, groups={"copilot_servers": host.split(":")}, **options)


class Client(developers.Client):
    def __init__(self, key: str | None, ca: Path = people.FLEET / "ca/ca.pem") -> None:
        super().__init__(key, ADDRESS, ca)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, [ADDRESSES])


@pytest.fixture(scope="session")
def server() -> Host:
    return testinfra.get_host("podman://copilot-default")


@pytest.fixture(scope="session")
def spare() -> Host:
    return testinfra.get_host("podman://copilot-spare")


@pytest.fixture(scope="session")
def slow() -> Host:
    return testinfra.get_host("podman://copilot-slow")


@pytest.fixture(scope="session")
def hub() -> Host:
    return testinfra.get_host("podman://copilot-hub")


@pytest.fixture
def key(server: Host) -> str:
    return server.check_output("sed -n 's/^api_key *= //p' /etc/one-appliance/config")


@pytest.fixture(autouse=True)
def journal(request: pytest.FixtureRequest, server: Host) -> Iterator[None]:
    """Prints what the service said when a test fails."""
    with shown_on_failure(request, lambda: journal_of(server, "slm-copilot")):
        yield
