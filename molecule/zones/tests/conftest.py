# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: three zones, their balancer, and developers who never stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

from developers import Client, Crowd
from fleet import Balancer, key_of
from journal import shown_on_failure
from people import FLEET, PROJECT, Operator

ZONES = PROJECT / "molecule/zones/inventory/zones.yml"
BALANCER = "10.89.79.11"
BALANCERS = {"madrid-1": BALANCER, "berlin-2": "10.89.79.15"}  # the second runs Debian 13
SERVERS = ("madrid-1", "paris-1", "berlin-1")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, [ZONES])


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    here = {"controller": testinfra.get_host("local://")}
    return here | {name: testinfra.get_host(f"podman://{name}") for name in (*SERVERS, "berlin-2", "oslo-1", "zones-hub")}


@pytest.fixture(scope="session")
def balancer(hosts: dict[str, Host]) -> Balancer:
    return Balancer(hosts["madrid-1"])


def caller(key: str, address: str = BALANCER) -> Client:
    return Client(key, address, FLEET / "ca/ca.pem")


@pytest.fixture
def client() -> Client:
    return caller(key_of("shared", "api-keys"))


@pytest.fixture
def crowd(client: Client) -> Callable[..., Crowd]:
    return lambda developers=6, tokens=400, asks=client: Crowd(asks, developers, tokens)


@pytest.fixture(autouse=True)
def all_is_well(request: pytest.FixtureRequest, balancer: Balancer) -> Iterator[None]:
    """Each test begins with three usable servers. When one fails, the router's words are shown."""
    balancer.wait_for(*SERVERS)
    mark = balancer.mark()
    with shown_on_failure(request, lambda: balancer.log_since(mark)[-6000:]):
        yield
