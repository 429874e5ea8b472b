# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of the ACME server in front of LiteLLM: for a while, `le-gateway` is a fleet of one server and its balancer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import COMPANY, FLEET, HOSTS, Site, renewal_cuts_no_stream
from people import FLEET as FLEET_DIR
from people import Operator

ALONE = {"copilot_fleet_servers": ["le-gateway"], "copilot_fleet_balancers": ["le-gateway"]}


@pytest.fixture(scope="module", autouse=True)
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    operator = Operator(tmp_path_factory.mktemp("balancer"), [HOSTS], limit="le-gateway")
    run = operator.run(**ALONE)
    assert run.status == 0, run.output[-3000:]
    yield
    assert operator.run().status == 0


@pytest.fixture
def gateway(gateway: Site) -> Site:
    """The host with its developers' key, which the controller of a fleet with balancers has."""
    return Site(gateway.name, gateway.domain, gateway.address, FLEET_DIR / "api-keys")


def test_it_is_served_in_front_of_litellm(gateway: Site) -> None:
    assert gateway.host.service("slm-copilot-proxy").is_running
    assert gateway.shown(COMPANY)["subjectAltName"] == (("DNS", gateway.domain),)
    assert ("IP Address", gateway.address) in gateway.shown(FLEET, name=gateway.address)["subjectAltName"]
    answer = gateway.client().chat()
    assert answer.status == 200
    report = gateway.report()
    assert (report["mode"], report["endpoint"]) == ("balancer", f"https://{gateway.domain}:8443/v1")
    assert report["warnings"] == []


def test_a_renewal_cuts_no_stream(gateway: Site) -> None:
    renewal_cuts_no_stream(gateway)
