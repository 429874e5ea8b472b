# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: the fleet and its monitor."""

from __future__ import annotations

import json
import os
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
from people import FLEET

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


@pytest.fixture(autouse=True)
def said(request: pytest.FixtureRequest, monitor: Monitor) -> Iterator[None]:
    """When a test fails, what was told and the journals are shown."""

    def state() -> str:
        alerts = json.dumps(monitor.query("ALERTS"))[:4000]
        return "\n".join([alerts, journal_of(monitor.host, "slm-copilot-prometheus", "slm-copilot-alertmanager")])

    with shown_on_failure(request, state):
        yield
