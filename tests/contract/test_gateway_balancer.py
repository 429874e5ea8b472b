# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In front of a balancer, with a server beside it. The balancer is a stand-in that answers with the path it was asked for."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_rig import DEVELOPERS, Developer, Gateway, entry
from rig import BACKEND_KEY, Llama, certificate


class Balancer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/v1/models/none" else 200)
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['X-Forwarded-For']}".encode())

    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture(scope="module")
def before_balancer(upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    balancer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Balancer)
    threading.Thread(target=balancer.serve_forever, daemon=True).start()
    gateway = Gateway(
        tmp_path_factory.mktemp("balancer"),
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{balancer.server_port}",
        gateway_upstream_health_path="/health/liveliness",
        gateway_local_server=f"127.0.0.1:{upstream.port}",
        gateway_keys=[*DEVELOPERS, entry("balancer", BACKEND_KEY, "balancer")],
        gateway_key_requests=5,
        gateway_client_verify="optional",
        gateway_client_ca_path=str(fleet_ca[0]),
    )
    gateway.start()
    yield gateway
    gateway.stop()
    balancer.shutdown()
    balancer.server_close()


@pytest.fixture
def gateway(before_balancer: Gateway) -> Gateway:
    return before_balancer


@pytest.fixture
def other_balancer(gateway: Gateway) -> Developer:
    """A balancer of another host, which comes to this host's server by its key."""
    return replace(gateway.developer(), key=BACKEND_KEY)


def test_developers_reach_the_balancer(alice: Developer) -> None:
    assert alice.models().text == f"/v1/models {alice.address}"


def test_health_is_the_balancers(nobody: Developer) -> None:
    assert nobody.request("GET", "/health").text.startswith("/health/liveliness ")


def test_admins_are_on_this_host_unless_told_otherwise(alice: Developer) -> None:
    assert alice.request("GET", "/metrics").text.startswith("/metrics ")


def test_the_backend_key_reaches_the_local_server(other_balancer: Developer) -> None:
    assert other_balancer.models().text.startswith('{"models":[{"name":"tiny"')
    assert other_balancer.request("GET", "/health").json == {"status": "ok"}
    assert len(other_balancer.request("GET", "/slots").json) == 2, "it looks at the slots from another host"


def test_the_backend_key_has_no_limit(other_balancer: Developer, bob: Developer) -> None:
    assert {answer.status for answer in other_balancer.models_often(10)} == {200}
    assert [answer.status for answer in bob.models_often(6)] == [200] * 5 + [429]


def test_what_the_balancer_refuses_is_passed_on_at_once(alice: Developer) -> None:
    answer = alice.request("GET", "/v1/models/none")
    assert (answer.status, answer.text.split()[0]) == (503, "/v1/models/none")


def test_a_clients_certificate_of_another_ca_is_refused(alice: Developer, fleet_ca: tuple[Path, Path], tmp_path: Path) -> None:
    assert replace(alice, certificate=certificate(tmp_path, "known", fleet_ca)).request("GET", "/health").status == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        replace(alice, certificate=certificate(tmp_path, "stranger")).request("GET", "/health")
    assert alice.request("GET", "/health").status == 200, "optional: without a certificate it works"
