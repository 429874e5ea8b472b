# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers as they run: piece by piece, and whole, whatever is changed in the gateway and behind it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_rig import Developer, Gateway
from rig import PATIENCE, Llama, free_port, wait_for


@pytest.fixture(autouse=True)
def whole(upstream: Llama) -> Iterator[None]:
    """Whatever a test does to the upstream, the next one finds it ready and idle."""
    yield
    if upstream.process is None or upstream.process.poll() is not None:
        upstream.start()
    upstream.wait_ready()
    upstream.wait_idle()


def serial(developer: Developer) -> str:
    """Of the certificate that a new client is shown."""
    connection = developer.connect()
    connection.connect()
    shown = connection.sock.getpeercert()
    connection.close()
    return str(shown["serialNumber"])


def test_a_stream_arrives_piece_by_piece(alice: Developer, upstream: Llama) -> None:
    asked = alice.ask(30000)
    asked.first(50)
    assert upstream.busy == 1, "there is more to come"
    asked.leave()


def test_a_client_that_leaves_frees_its_slot(alice: Developer, upstream: Llama) -> None:
    asked = [alice.ask(30000), alice.ask(30000, stream=False)]
    wait_for("both slots are busy", lambda: upstream.busy == 2)
    for stream in asked:
        stream.leave()
    upstream.wait_idle()


def test_a_client_that_leaves_while_it_waits_is_not_served(
    gateway: Gateway, alice: Developer, bob: Developer, upstream: Llama
) -> None:
    upstream.kill()
    asked = alice.ask(30000)
    wait_for("it waits", lambda: gateway.passed_on() == 1)
    asked.leave()
    wait_for("it is given up", lambda: f"{alice.address} POST /v1/chat/completions" in gateway.log)
    upstream.start()
    assert bob.models().status == 200, "who waited with it is served"
    assert upstream.busy == 0


def test_a_new_certificate_cuts_no_stream(gateway: Gateway, alice: Developer, bob: Developer, upstream: Llama) -> None:
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
    assert upstream.busy == 1, "the stream outlasts the reload"
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


def test_requests_wait_for_an_upstream_that_restarts(gateway: Gateway, alice: Developer, upstream: Llama) -> None:
    upstream.kill()
    asked = [alice.ask(5, stream=False) for _round in range(4)]
    wait_for("they wait", lambda: gateway.passed_on() == 4)
    upstream.start()
    asked += [alice.ask(5, stream=False) for _round in range(2)]  # while it loads its model
    assert [stream.rest().status for stream in asked] == [200] * 6


def test_an_upstream_that_stays_away(fleet_ca: tuple[Path, Path], tmp_path: Path) -> None:
    wait = 2
    gateway = Gateway(tmp_path, fleet_ca, gateway_upstream=f"127.0.0.1:{free_port()}", gateway_restart_wait=wait)
    gateway.start()
    asked = time.monotonic()
    answer = gateway.developer().models()
    waited = time.monotonic() - asked
    gateway.stop()
    assert answer.status == 503
    assert answer.error["code"] == "service_unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert wait - 1 < waited < PATIENCE, "as long as gateway_restart_wait says"


def test_an_upstream_that_dies_says_so_in_the_right_form(alice: Developer, upstream: Llama) -> None:
    asked = alice.ask(30000, stream=False)
    wait_for("it is being answered", lambda: upstream.busy == 1)
    upstream.signal(signal.SIGKILL)
    answer = asked.rest()
    assert answer.status == 502
    assert answer.headers["retry-after"]
    assert answer.error["type"] == "server_error"
    upstream.kill()
    asked = alice.ask(5, stream=False)
    upstream.start()
    assert asked.rest().status == 200, "the next one waits until it is back"
