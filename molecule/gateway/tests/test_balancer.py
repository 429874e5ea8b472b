# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In front of a balancer, with llama-server beside it. The balancer is a stand-in that answers with the path it was asked for."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CA, Client, connect
from testinfra.host import Host

BALANCER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 503 if self.path == "/v1/models/none" else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write((self.path + " " + str(self.headers["X-Forwarded-For"])).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", 4000), Handler).serve_forever()
"""


@pytest.fixture(scope="module", autouse=True)
def balancer(server: Host, keys: dict[str, str], converge: Callable[..., str]) -> Iterator[None]:
    server.check_output("systemd-run --quiet --unit=stand-in python3 -c %s", BALANCER)
    recap = converge(
        gateway_upstream="127.0.0.1:4000",
        gateway_upstream_health_path="/health/liveliness",
        gateway_local_server="127.0.0.1:8444",
        gateway_backend_key_sha256=hashlib.sha256(keys["shared"].encode()).hexdigest(),
        gateway_key_requests=5,
        gateway_client_verify="optional",
        gateway_client_ca_path="/etc/slm-copilot/ca.pem",
    )
    assert "failed=0" in recap, recap
    yield
    server.check_output("systemctl stop stand-in")
    assert "failed=0" in converge()


def test_developers_reach_the_balancer(alice: Client) -> None:
    assert alice.request("GET", "/v1/models").body == "/v1/models 10.89.80.1"


def test_health_is_the_balancers(server: Host) -> None:
    assert Client(None).request("GET", "/health").body.startswith("/health/liveliness ")


def test_the_backend_key_reaches_the_local_server(team: Client) -> None:
    assert team.models().body.startswith('{"models":[{"name":"tiny"')
    assert json.loads(team.request("GET", "/health").body) == {"status": "ok"}
    assert len(json.loads(team.request("GET", "/slots").body)) == 2, "its balancer looks at its slots from another host"


def test_the_backend_key_has_no_limit(team: Client, bob: Client) -> None:
    assert {team.models().status for _round in range(10)} == {200}
    assert [answer.status for answer in bob.models_often(6)] == [200] * 5 + [429]


def test_what_the_balancer_refuses_is_passed_on_at_once(alice: Client) -> None:
    answer = alice.request("GET", "/v1/models/none")
    assert (answer.status, answer.body.split()[0]) == (503, "/v1/models/none")


def test_a_clients_certificate_of_another_ca_is_refused(tmp_path: Path) -> None:
    subject = ["-subj", "/CN=stranger", "-days", "1", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *subject], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(CA))
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    connection = connect()
    connection._context = context
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.request("GET", "/health")
        connection.getresponse()
    assert Client(None).request("GET", "/health").status == 200, "optional: without a certificate it works"
