# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: developers with what the operator handed over to them."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

import developers
import people
from journal import journal_of, shown_on_failure

HOSTS = people.PROJECT / "molecule/mtls/inventory/hosts.yml"
ADDRESS = "fd00:10:89:82::11"
CLIENTS = people.FLEET / "clients"
CLIENT_CA = people.FLEET / "client-ca"
FLEET_CA = people.FLEET / "ca/ca.pem"
# What a client sees when it is refused in the handshake; with TLS 1.3 it may only see that the connection is gone.
REFUSED = (ssl.SSLError, ConnectionError)


class Developer(developers.Client):
    """Somebody with a key, with a certificate, or with both."""

    def __init__(self, key: str | None, certificate: Path | None = None, private_key: Path | None = None) -> None:
        super().__init__(key, ADDRESS, FLEET_CA, "tiny")
        self.certificate, self.private_key = certificate, private_key

    def connect(self):
        connection = super().connect()
        if self.certificate:
            connection._context.load_cert_chain(self.certificate, self.private_key)
        return connection

    def models(self) -> int:
        return self.request("GET", "/v1/models").status


@pytest.fixture
def operator(tmp_path: Path) -> people.Operator:
    return people.Operator(tmp_path, [HOSTS])


@pytest.fixture(scope="session")
def server() -> Host:
    return testinfra.get_host("podman://mtls-1")


def keys_in(text: str) -> dict[str, str]:
    lines = text.splitlines()
    return {name.split(": ")[1]: key for name, key in zip(lines, lines[1:]) if name.startswith("# name: ")}


@pytest.fixture
def keys() -> dict[str, str]:
    return keys_in((people.FLEET / "api-keys").read_text())


@pytest.fixture
def developer(keys: dict[str, str]) -> Callable[..., Developer]:
    def make(name: str, key: str | None = "own", folder: Path | None = None) -> Developer:
        folder = folder or CLIENTS / name
        return Developer(keys[name] if key == "own" else key, folder / "client.pem", folder / "client-key.pem")

    return make


@pytest.fixture(autouse=True)
def journal(request: pytest.FixtureRequest, server: Host) -> Iterator[None]:
    """Prints what the gateway said when a test fails."""
    with shown_on_failure(request, lambda: journal_of(server, "slm-copilot-gateway")):
        yield
