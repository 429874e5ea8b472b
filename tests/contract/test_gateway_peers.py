# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gateways of two balancers count the requests of a key together, and believe nobody else."""

from __future__ import annotations

import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_rig import Developer, Gateway, configure
from rig import PATIENCE, certificate, free_port, wait_for

REQUESTS = 40
NAMES = ("madrid-1", "paris-1")
BOTH = "serverAuth,clientAuth"


class Upstream(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture(scope="module")
def answering() -> Iterator[int]:
    """What answers everybody at once, by its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def pair(answering: int, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    work = tmp_path_factory.mktemp("peers")
    gateways = [Gateway(work, fleet_ca, name, BOTH) for name in NAMES]
    ours = {
        "ansible_host": "127.0.0.1",
        "gateway_upstream": f"127.0.0.1:{answering}",
        "gateway_rate_window": 60,
        "gateway_key_requests": REQUESTS,
        "gateway_address_requests": 0,
        "gateway_peers": list(NAMES),
        "gateway_peers_ca_path": str(fleet_ca[0]),
    }
    refused = configure(work, {one.name: {**ours, **one.ports, "gateway_peers_port": free_port()} for one in gateways})
    assert not refused, refused
    for gateway in gateways:
        gateway.start()
    yield gateways
    for gateway in gateways:
        gateway.stop()


def told(gateway: Gateway) -> dict[str, str]:
    """How it stands with its peers, by their names, as its process says."""
    said = show(gateway, "show peers")
    return dict(re.findall(r"id=([\w.-]+)\(remote[^)]*\).* last_status=(\w+)", said))


def show(gateway: Gateway, what: str) -> str:
    with socket.socket(socket.AF_UNIX) as master:
        master.settimeout(PATIENCE)
        master.connect(str(gateway.folder / "master.sock"))
        master.sendall(f"@1 {what}\n".encode())
        master.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: master.recv(65536), b"")).decode()


@pytest.fixture
def gateways(pair: list[Gateway]) -> list[Gateway]:
    for gateway in pair:
        wait_for("it is connected", lambda one=gateway: "ESTA" in told(one).values())
    return pair


def of(developer: Developer, gateway: Gateway) -> Developer:
    """The same developer at another balancer."""
    return replace(developer, gateway=gateway)


def counted(gateway: Gateway, developer: Developer) -> Counter[str]:
    """How many requests of a developer it knows of each balancer."""
    found: Counter[str] = Counter()
    for name in NAMES:
        table = show(gateway, f"show table keys_of_{name} key {developer.name}")
        found[name] += int((re.search(r"gpc0=(\d+)", table) or [0, 0])[1])
    return found


def test_what_one_has_let_through_counts_at_the_other(gateways: list[Gateway]) -> None:
    here, there = gateways
    alice = here.developer()
    assert [one.status for one in of(alice, here).models_often(REQUESTS - 1)] == [200] * (REQUESTS - 1)
    wait_for("the other knows", lambda: counted(there, alice)[here.name] == REQUESTS - 1)
    assert [one.status for one in of(alice, there).models_often(3)] == [200, 429, 429]
    wait_for("and says what it let through", lambda: counted(here, alice)[there.name] == 1)
    assert of(alice, here).models().status == 429
    assert here.developer().models().status == 200, "another key goes through"


def test_what_is_asked_at_both_at_once_is_counted(gateways: list[Gateway]) -> None:
    """The error is what passes while a number is on its way."""
    alice = gateways[0].developer()

    def ask(gateway: Gateway) -> int:
        return Counter(one.status for one in of(alice, gateway).models_often(REQUESTS))[200]

    with ThreadPoolExecutor(len(gateways)) as threads:
        through = sum(threads.map(ask, gateways))
    print(f"{through} of {2 * REQUESTS} were let through, {REQUESTS} should be")
    assert REQUESTS <= through <= REQUESTS * 1.25


def test_a_reload_keeps_what_was_counted(gateways: list[Gateway]) -> None:
    here, there = gateways
    alice = here.developer()
    of(alice, here).models_often(REQUESTS // 2)
    of(alice, there).models_often(REQUESTS // 2)
    expected = Counter({name: REQUESTS // 2 for name in NAMES})
    wait_for("both know", lambda: counted(here, alice) == counted(there, alice) == expected)
    here.reload()
    wait_for("the new process knows", lambda: counted(here, alice) == expected)
    assert of(alice, here).models().status == 429


def test_one_that_comes_back_learns_what_it_had_counted(gateways: list[Gateway]) -> None:
    here, there = gateways
    alice = here.developer()
    of(alice, here).models_often(REQUESTS)
    wait_for("the other knows", lambda: counted(there, alice)[here.name] == REQUESTS)
    assert here.process is not None
    here.process.kill()
    here.process.wait()
    subprocess.run(["pkill", "--parent", str(here.process.pid)], check=False)
    assert of(alice, there).models().status == 429
    here.start()
    wait_for("it learns", lambda: counted(here, alice)[here.name] == REQUESTS)
    assert of(alice, here).models().status == 429


@pytest.mark.parametrize("uses", ["serverAuth", "a stranger's"])
def test_only_a_balancer_is_believed(gateways: list[Gateway], fleet_ca: tuple[Path, Path], tmp_path: Path, uses: str) -> None:
    """A server's certificate is of the same CA, and for servers alone."""
    ours = json.loads((gateways[0].folder.parent / "hosts.json").read_text())["all"]["hosts"][NAMES[0]]
    context = ssl.create_default_context(cafile=str(fleet_ca[0]))
    context.check_hostname = False

    def hello(identity: tuple[Path, Path]) -> bytes:
        context.load_cert_chain(*identity)
        plain = socket.create_connection(("127.0.0.1", ours["gateway_peers_port"]), PATIENCE)
        with context.wrap_socket(plain) as secured:
            secured.sendall(f"HAProxyS 2.1\n{NAMES[0]}\n{NAMES[1]} 1 1\n".encode())
            return secured.recv(4)

    stranger = certificate(tmp_path, "stranger", fleet_ca, uses) if uses == "serverAuth" else certificate(tmp_path, "stranger")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        hello(stranger)
    assert hello(certificate(tmp_path, "balancer", fleet_ca, BOTH)).startswith(b"200"), "which is asked in the right way"
