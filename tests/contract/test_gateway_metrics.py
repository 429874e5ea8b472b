# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A monitor's key opens metrics, and nothing else."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_rig import DEVELOPERS, Developer, Gateway, entry
from metrics_rig import samples_of
from rig import Llama, wait_for

KEY = "sk-monitor-of-the-contract-tests"


class Balancer(http.server.BaseHTTPRequestHandler):
    """A stand-in that answers with the path, and with who asks."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['X-Copilot-User']} {self.headers['X-Copilot-Role']}".encode())

    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway(upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Before a balancer, with a server beside it."""
    balancer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Balancer)
    threading.Thread(target=balancer.serve_forever, daemon=True).start()
    started = Gateway(
        tmp_path_factory.mktemp("metrics"),
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{balancer.server_port}",
        gateway_local_server=f"127.0.0.1:{upstream.port}",
        gateway_host_metrics=f"127.0.0.1:{balancer.server_port}",
        gateway_keys=[*DEVELOPERS, entry("monitor@fleet", KEY, "monitor")],
        gateway_admin_networks=["192.0.2.1"],
        gateway_key_requests=0,
        gateway_address_requests=0,
    )
    started.start()
    yield started
    started.stop()
    balancer.shutdown()
    balancer.server_close()


@pytest.fixture
def monitor(gateway: Gateway) -> Developer:
    """Prometheus, at an address that is no administrator's."""
    return replace(gateway.developer(), key=KEY)


def test_haproxys_own_counters_come_through_the_gateway(monitor: Developer) -> None:
    seen = samples_of(monitor.request("GET", "/metrics/gateway"))
    assert seen.sum("haproxy_frontend_http_requests_total", proxy="api") >= 1
    assert "haproxy_backend_http_responses_total" in seen.names()


def test_a_balancers_metrics_and_its_servers_are_told_apart(monitor: Developer, upstream: Llama) -> None:
    assert monitor.request("GET", "/metrics").text == "/metrics monitor@fleet monitor"
    assert monitor.request("GET", "/metrics/balancer").text == "/metrics/balancer monitor@fleet monitor"
    at_server = monitor.request("GET", "/metrics/server")
    assert at_server.status == 404, "which llama-server says here, without a router before it"


def test_the_hosts_metrics_are_the_node_exporters(monitor: Developer, gateway: Gateway) -> None:
    assert monitor.request("GET", "/metrics/host").text == "/metrics monitor@fleet monitor"
    assert gateway.developer().request("GET", "/metrics/host").status == 404
    assert replace(monitor, key=None).request("GET", "/metrics/host").status == 404


@pytest.mark.parametrize(
    "path", ["/v1/models", "/slots", "/props", "/router/state", "/running", "/metricsx", "/metrics/../slots"]
)
def test_a_monitors_key_opens_nothing_else(monitor: Developer, path: str) -> None:
    assert monitor.request("GET", path).status == 404


def test_developers_see_no_metrics_and_nobody_without_a_key(alice: Developer, nobody: Developer) -> None:
    for path in ("/metrics", "/metrics/gateway", "/metrics/server", "/metrics/balancer"):
        assert alice.request("GET", path).status == 404
        assert nobody.request("GET", path).status == 404


def test_a_scrape_is_not_logged_and_a_developers_try_is(gateway: Gateway, monitor: Developer, alice: Developer) -> None:
    assert monitor.request("GET", "/metrics/balancer?scrape").status == 200
    assert alice.request("GET", "/metrics/balancer").status == 404
    wait_for("it is logged", lambda: f"user={alice.name}" in gateway.log)
    assert not [line for line in gateway.log.splitlines() if "role=monitor" in line and " 200 " in line]
