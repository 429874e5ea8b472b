# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pages of a monitor are for administrators and their networks, and for no page of another site."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_rig import DEVELOPERS, Developer, Gateway, entry

KEYS = {role: f"sk-{role}-of-the-contract-tests-of-pages" for role in ("admin", "balancer", "monitor")}
OFFICE = "127.1.1.7"
PAGE = "/prometheus/consoles/fleet.html"


class Pages(http.server.BaseHTTPRequestHandler):
    """A stand-in for Prometheus: it answers with the path, and lets other sites read, as Prometheus does by itself."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['Authorization']}".encode())

    do_POST = do_GET

    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway(fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Of a monitor that is nothing else."""
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    started = Gateway(
        tmp_path_factory.mktemp("pages"),
        fleet_ca,
        copilot_fleet_monitors=["gateway"],
        monitoring_prometheus_port=pages.server_port,
        gateway_keys=[*DEVELOPERS, *(entry(f"{role}@fleet", key, role) for role, key in KEYS.items())],
        gateway_admin_networks=[OFFICE],
    )
    started.start()
    yield started
    started.stop()
    pages.shutdown()
    pages.server_close()


@pytest.fixture
def anna(gateway: Gateway) -> Developer:
    """An administrator, somewhere."""
    return replace(gateway.developer(), key=KEYS["admin"])


def test_an_administrator_sees_pages_by_key_or_by_password(anna: Developer) -> None:
    assert anna.request("GET", PAGE).text == f"{PAGE} None", "the page is told no key"
    password = base64.b64encode(f"anna:{KEYS['admin']}".encode()).decode()
    assert replace(anna, key=None).request("GET", PAGE, Authorization=f"Basic {password}").text == f"{PAGE} None"


def test_a_browser_is_asked_for_a_password(nobody: Developer) -> None:
    for key in (None, "sk-nobody-s"):
        answer = replace(nobody, key=key).request("GET", PAGE)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="slm.copilot"')


def test_a_network_of_administrators_needs_no_key(nobody: Developer) -> None:
    office = replace(nobody, address=OFFICE)
    assert office.request("GET", PAGE).status == 200
    assert office.request("GET", "/metrics/gateway").status == 401, "but for what is no page"


@pytest.mark.parametrize("role", ["developer", "balancer", "monitor"])
def test_others_keys_open_no_page(anna: Developer, gateway: Gateway, role: str) -> None:
    key = KEYS.get(role) or gateway.developer().key
    assert replace(anna, key=key).request("GET", PAGE).status == 404


def test_other_sites_neither_read_nor_write(anna: Developer) -> None:
    answer = anna.request("GET", PAGE)
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    query = "/prometheus/api/v1/query"
    sent = {
        site: anna.request("POST", query, "query=up", **{"Sec-Fetch-Site": site}).status for site in ("same-origin", "cross-site")
    }
    assert sent == {"same-origin": 200, "cross-site": 404}


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/prometheuses", "/prometheus/../v1/models"])
def test_there_is_nothing_else(anna: Developer, path: str) -> None:
    assert anna.request("GET", path).status == 404


def test_health_is_that_of_prometheus(nobody: Developer) -> None:
    assert nobody.request("GET", "/health").text == "/prometheus/-/ready None"
