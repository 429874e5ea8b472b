# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers as they run: piece by piece, and whole, whatever is changed in the gateway and behind it: router and llama-server."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_rig import Developer, Gateway
from rig import PATIENCE, free_port, wait_for
from router_rig import EngineOnSocket, Router


@pytest.fixture(scope="module")
def engine_of_host(engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineOnSocket]:
    """One in whose context long answers do not end."""
    found = EngineOnSocket(engine, model, tmp_path_factory.mktemp("engine"), context=32768)
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def router(router_venv: Path, engine_of_host: EngineOnSocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    found = Router(router_venv, engine_of_host, tmp_path_factory.mktemp("router"), restart_wait=PATIENCE)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def gateway(router: Router, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    work = tmp_path_factory.mktemp("gateway")
    found = Gateway(work, fleet_ca, gateway_upstream=f"unix@{router.socket}", gateway_restart_wait=PATIENCE)
    found.start()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def whole(router: Router, engine_of_host: EngineOnSocket) -> Iterator[None]:
    """Whatever a test does to what is behind, the next one finds it ready and idle."""
    yield
    if engine_of_host.process is None:
        engine_of_host.start()
    if router.process is None:
        router.start()
    router.wait_state(health="ready")
    engine_of_host.wait_idle()


def serial(developer: Developer) -> str:
    """Of the certificate that a new client is shown."""
    connection = developer.connect()
    connection.connect()
    shown = connection.sock.getpeercert()
    connection.close()
    return str(shown["serialNumber"])


def test_a_stream_arrives_piece_by_piece(alice: Developer, engine_of_host: EngineOnSocket) -> None:
    asked = alice.ask(30000)
    asked.first(50)
    assert engine_of_host.busy == 1, "there is more to come"
    asked.leave()


def test_a_client_that_leaves_frees_its_slot(alice: Developer, engine_of_host: EngineOnSocket) -> None:
    asked = [alice.ask(30000), alice.ask(30000, stream=False)]
    wait_for("both slots are busy", lambda: engine_of_host.busy == 2)
    for stream in asked:
        stream.leave()
    engine_of_host.wait_idle()


def test_a_client_that_leaves_while_it_waits_is_not_served(
    gateway: Gateway, alice: Developer, bob: Developer, engine_of_host: EngineOnSocket
) -> None:
    engine_of_host.kill()
    asked = alice.ask(30000)
    wait_for("it waits", lambda: gateway.passed_on() == 1)
    asked.leave()
    wait_for("it is given up", lambda: f"{alice.address} POST /v1/chat/completions" in gateway.log)
    engine_of_host.start()
    assert bob.models().status == 200, "who waited with it is served"
    assert engine_of_host.busy == 0


def test_a_new_certificate_cuts_no_stream(
    gateway: Gateway, alice: Developer, bob: Developer, engine_of_host: EngineOnSocket
) -> None:
    before = serial(bob)
    idle = bob.connect()  # a developer's program keeps its connection
    idle.request("GET", "/health")
    idle.getresponse().read()
    stream = alice.ask(1500)
    stream.first()
    gateway.renew()
    assert serial(bob) == before
    gateway.reload()
    wait_for("new clients see the new certificate", lambda: serial(bob) != before)
    assert engine_of_host.busy == 1, "the stream outlasts the reload"
    idle.request("GET", "/health")
    assert idle.getresponse().status == 200
    *_pieces, last, done = stream.rest().events
    assert done == "[DONE]"
    assert json.loads(last)["choices"][0]["finish_reason"] == "length"


def test_no_request_is_lost_over_reloads(gateway: Gateway, nobody: Developer) -> None:
    seen: list[int | str] = []
    over = threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            try:
                seen.append(nobody.request("GET", "/health").status)
            except OSError as error:
                seen.append(repr(error))

    askers = [threading.Thread(target=keep_asking) for _round in range(3)]
    for asker in askers:
        asker.start()
    for _round in range(5):
        answered = len(seen)
        gateway.reload()
        wait_for("the new one answers", lambda before=answered: len(seen) > before + 10)
    over.set()
    for asker in askers:
        asker.join()
    assert set(seen) == {200}


def test_requests_wait_for_an_engine_that_restarts(gateway: Gateway, alice: Developer, engine_of_host: EngineOnSocket) -> None:
    engine_of_host.kill()
    asked = [alice.ask(5, stream=False) for _round in range(4)]
    wait_for("they wait", lambda: gateway.passed_on() == 4)
    engine_of_host.start(wait=False)
    asked += [alice.ask(5, stream=False) for _round in range(2)]  # while it loads its model
    assert [stream.rest().status for stream in asked] == [200] * 6


class Late(http.server.BaseHTTPRequestHandler):
    """An upstream that opens its port only when it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_an_upstream_that_comes_late_and_one_that_stays_away(fleet_ca: tuple[Path, Path], tmp_path: Path) -> None:
    wait, port = 8, free_port()
    gateway = Gateway(tmp_path, fleet_ca, gateway_upstream=f"127.0.0.1:{port}", gateway_restart_wait=wait)
    gateway.start()
    alice = gateway.developer()
    asked = alice.send("GET", "/v1/models")
    wait_for("it waits", lambda: gateway.passed_on() == 1)
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", port), Late)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    assert asked.rest().status == 200
    upstream.shutdown()
    upstream.server_close()
    since = time.monotonic()
    answer = alice.models()
    waited = time.monotonic() - since
    gateway.stop()
    assert answer.status == 503
    assert answer.error["code"] == "service_unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert wait - 1 < waited < PATIENCE, "as long as gateway_restart_wait says"


def test_a_router_that_dies_is_told_in_the_right_form(alice: Developer, router: Router, engine_of_host: EngineOnSocket) -> None:
    asked = alice.ask(30000, stream=False)
    wait_for("it is being answered", lambda: engine_of_host.busy == 1)
    router.stop()
    answer = asked.rest()
    assert answer.status == 502
    assert answer.headers["retry-after"]
    assert answer.error["type"] == "server_error"
    asked = alice.ask(5, stream=False)
    router.start()
    assert asked.rest().status == 200, "the next one waits until it is back"
