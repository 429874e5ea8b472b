# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: the fleet and its monitor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

from developers import Client
from journal import journal_of, shown_on_failure
from people import FLEET, PROJECT

SERVERS = ("madrid-1", "paris-1", "berlin-1")
BALANCER, MONITOR = "10.89.86.11", "10.89.86.14"
CONFIG = "/etc/slm-copilot/monitoring"


@dataclass
class Monitor:
    """The host that watches, as administrators see it."""

    host: Host
    admin: Client

    def query(self, expression: str) -> list[dict]:
        path = "/prometheus/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        answer = self.admin.request("GET", path)
        assert answer.status == 200, answer
        return answer.json()["data"]["result"]

    def write(self, path: str, text: str) -> None:
        """Gives a file another content."""
        self.host.check_output("printf %%s %s > %s", text, path)

    def value(self, expression: str) -> float:
        """Returns the one value of an expression; 0 where it has none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    return {name: testinfra.get_host(f"podman://{name}") for name in (*SERVERS, "watch-1")}


def key_of(name: str) -> str:
    lines = (FLEET / "api-keys").read_text().splitlines()
    return lines[lines.index(f"# name: {name}") + 1]


@pytest.fixture(scope="session")
def client() -> Client:
    return Client(key_of("shared"), BALANCER, FLEET / "ca/ca.pem", "tiny")


@pytest.fixture(scope="session")
def monitor(hosts: dict[str, Host]) -> Monitor:
    return Monitor(hosts["watch-1"], Client(key_of("anna"), MONITOR, FLEET / "ca/ca.pem"))


@dataclass
class Seen:
    """A page in headless Chromium."""

    text: str
    title: str
    width: int
    paper: str
    ink: str
    fetched: list[str]

    @property
    def is_dark(self) -> bool:
        paper, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (self.paper, self.ink))
        return paper < ink


@dataclass
class Page:
    """The page for people, as Chromium shows it on the monitor."""

    host: Host
    url: str

    def seen(self, scheme: str, width: int, height: int) -> Seen:
        """Looks at it, and leaves a picture in .cache/molecule/monitoring."""
        name = f"{self.url.rpartition('/')[2].removesuffix('.html')}-{width}-{scheme}.png"
        said = self.host.check_output(f"python3 /root/browser.py {self.url} /root/{name} {width} {height} {scheme}")
        podman = ["podman", "cp", f"watch-1:/root/{name}", str(PROJECT / ".cache/molecule/monitoring" / name)]
        subprocess.run(podman, check=True)
        return Seen(**json.loads(said))


@pytest.fixture(scope="session")
def browser(monitor: Monitor) -> Host:
    """The monitor with Debian's Chromium, which trusts the fleet's CA and nothing else."""
    packages = "chromium-headless-shell libnss3-tools fonts-dejavu-core"
    install = f"apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends {packages}"
    monitor.host.check_output(install)
    store = "sql:/root/.pki/nssdb"
    trust = f"mkdir -p /root/.pki/nssdb && certutil -N -d {store} --empty-password && certutil -A -d {store} -n fleet -t C,,"
    monitor.host.check_output(f"test -e /root/.pki/nssdb/cert9.db || ({trust} -i /etc/slm-copilot/monitoring/ca.pem)")
    subprocess.run(["podman", "cp", PROJECT / "molecule/resources/browser.py", "watch-1:/root/browser.py"], check=True)
    return monitor.host


@pytest.fixture
def page(browser: Host) -> Page:
    return Page(browser, f"https://{MONITOR}:8443/prometheus/consoles/fleet.html")


@pytest.fixture(autouse=True)
def said(request: pytest.FixtureRequest, monitor: Monitor) -> Iterator[None]:
    """When a test fails, what was told and the journals are shown."""

    def state() -> str:
        alerts = json.dumps(monitor.query("ALERTS"))[:4000]
        return "\n".join([alerts, journal_of(monitor.host, "slm-copilot-prometheus", "slm-copilot-alertmanager")])

    with shown_on_failure(request, state):
        yield
