# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: hosts with domains, their ACME server, and clients that trust one CA."""

from __future__ import annotations

import json
import os
import socket
import ssl
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

HOSTS = people.PROJECT / "molecule/letsencrypt/inventory/hosts.yml"
FLEETS = HOSTS.with_name("fleets.yml")
COMPANY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "acme/bundle.pem"
FLEET = people.FLEET / "ca/ca.pem"
RENEWAL = "/etc/letsencrypt/renewal/slm-copilot.conf"
ACME_ERROR = "The ACME server gave no certificate"


class Operator(people.Operator):
    """Each host is a fleet of its own, as in the converge."""

    def command(self, *arguments: str, **options: Any) -> list[str]:
        return super().command(*arguments, "--extra-vars", f"@{FLEETS}", **options)


class Site:
    """A host with a domain. No name server that this machine asks knows the domain, so its address is used."""

    def __init__(self, name: str, domain: str, address: str) -> None:
        self.name, self.domain, self.address = name, domain, address
        self.host: Host = testinfra.get_host(f"podman://{name}")

    def shown(self, ca: Path, name: str = "") -> dict[str, object]:
        """The certificate that a client accepts which trusts this CA alone."""
        context = ssl.create_default_context(cafile=str(ca))
        plain = socket.create_connection((self.address, 8443), timeout=30)
        with context.wrap_socket(plain, server_hostname=name or self.domain) as secure:
            certificate = secure.getpeercert()
        assert certificate
        return certificate

    def serial(self, ca: Path = COMPANY) -> str:
        return str(self.shown(ca)["serialNumber"])

    def client(self, ca: Path = COMPANY) -> developers.Client:
        lines = (people.FLEET / "api-keys").read_text().splitlines()
        return Client(lines[lines.index("# name: shared") + 1], self, ca)

    def report(self) -> dict[str, object]:
        return json.loads(self.host.check_output("cat /etc/slm-copilot/report.json"))


class Client(developers.Client):
    """A developer's program that finds the domain at its address."""

    def __init__(self, key: str, site: Site, ca: Path) -> None:
        super().__init__(key, site.domain, ca, "tiny")
        self.site = site

    def connect(self):
        connection = super().connect()
        connection._create_connection = lambda _address, *rest: socket.create_connection((self.site.address, 8443), *rest)
        return connection


def told(run: people.Run) -> str:
    return " ".join(run.output.split())


def due(site: Site) -> None:
    """Makes the certificate one that certbot renews at its timer's next turn."""
    site.host.check_output(f"sed -i -e '1i renew_before_expiry = 3650 days' -e '/renew_before_expiry/d' {RENEWAL}")


def started(site: Site, unit: str) -> str:
    return site.host.check_output(f"systemctl show --property=ActiveEnterTimestampMonotonic {unit}")


def stream_while_renewing(site: Site) -> Iterator[developers.Stream]:
    """Returns a long answer that had begun when certbot's own service renewed the certificate, as its timer starts it."""
    due(site)
    pieces = site.client().streaming(max_tokens=3000, ignore_eos=True)
    next(pieces)
    site.host.check_output("systemctl start certbot.service")
    return pieces


def renewal_cuts_no_stream(site: Site) -> None:
    """Where a gateway serves it."""
    before, unit = site.serial(), "slm-copilot-gateway"
    serving = started(site, unit)
    pieces = stream_while_renewing(site)
    developers.eventually(lambda: site.serial() != before, "the new certificate is shown")
    during = next(pieces)
    assert not during.finished, "the answer is longer than the renewal"
    *_more, seen = pieces
    assert seen.finished and not seen.error
    assert len(seen.pieces) > 2900
    assert started(site, unit) == serving, "reloaded, not restarted"


@pytest.fixture
def operator(tmp_path: Path) -> people.Operator:
    return Operator(tmp_path, [HOSTS])


@pytest.fixture(scope="session")
def gateway() -> Site:
    return Site("le-gateway", "copilot.example.com", "10.89.81.11")


@pytest.fixture(scope="session")
def late() -> Site:
    return Site("le-late", "later.example.com", "10.89.81.12")


@pytest.fixture(scope="session")
def acme() -> Host:
    return testinfra.get_host("podman://le-acme")


@pytest.fixture(autouse=True)
def journal(request: pytest.FixtureRequest, gateway: Site, late: Site) -> Iterator[None]:
    """Prints what was said when a test fails."""

    def said() -> str:
        log = "tail -n 40 /var/log/letsencrypt/letsencrypt.log"
        return "\n".join(
            journal_of(site.host, "slm-copilot*", "certbot", lines=30) + site.host.run(log).stdout for site in (gateway, late)
        )

    with shown_on_failure(request, said):
        yield
