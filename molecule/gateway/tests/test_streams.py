# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers as they run: piece by piece, and whole, whatever is changed behind them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from conftest import Client, busy_slots, connect
from developers import eventually
from testinfra.host import Host

UNIT = "slm-copilot-gateway"


def serial() -> int:
    """Of the certificate that a new client is shown."""
    connection = connect()
    connection.connect()
    certificate = connection.sock.getpeercert()
    connection.close()
    return int(certificate["serialNumber"], 16)


def test_a_stream_arrives_piece_by_piece(team: Client, server: Host) -> None:
    asked = team.ask(30000)
    pieces = (line for line in asked.getresponse() if line.startswith(b"data: {"))
    for _piece in range(50):
        next(pieces)
    assert busy_slots(server, team.key) == 1, "there is more to come"
    asked.close()


def test_a_client_that_leaves_frees_its_slot(team: Client, server: Host) -> None:
    asked = [team.ask(30000), team.ask(30000, stream=False)]
    eventually(lambda: busy_slots(server, team.key) == 2, "both slots are busy")
    for connection in asked:
        connection.close()
    # llama-server notices a client that left before its answer began once it has had no result for a second, and to be asked
    # about its slots is one: so ask seldom.
    eventually(lambda: busy_slots(server, team.key) == 0, "both slots are free", every=4)


def test_a_client_that_leaves_while_it_waits_is_not_served(team: Client, server: Host) -> None:
    server.check_output("systemctl stop slm-copilot")
    asked = team.ask(30000)
    time.sleep(2)
    asked.close()
    server.check_output("systemctl start slm-copilot")
    time.sleep(3)  # longer than those that wait need to go on
    assert busy_slots(server, team.key) == 0


def test_a_new_certificate_cuts_no_stream(team: Client, server: Host, converge: Callable[..., str]) -> None:
    before = serial()
    recap = converge("tls", tls_extra_names=[f"renewed-{time.time():.0f}.example"])
    assert "failed=0" in recap, recap
    idle = connect()  # a developer's program keeps its connection
    idle.request("GET", "/health")
    idle.getresponse().read()
    response = team.ask(5000).getresponse()
    first = response.readline()
    started = server.check_output(f"systemctl show --property=ActiveEnterTimestamp {UNIT}")
    server.check_output(f"systemctl reload {UNIT}")
    eventually(lambda: serial() != before, "new clients see the new certificate")
    assert busy_slots(server, team.key) == 1, "the stream outlasts the reload"
    assert server.check_output(f"systemctl show --property=ActiveEnterTimestamp {UNIT}") == started
    idle.request("GET", "/health")
    assert idle.getresponse().status == 200
    lines = [line.decode().strip() for line in [first, *response] if line.strip()]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2][6:])["choices"][0]["finish_reason"] == "length"


def test_no_request_is_lost_over_reloads(server: Host) -> None:
    seen: list[int | str] = []
    over = threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            try:
                seen.append(Client(None).request("GET", "/health").status)
            except OSError as error:
                seen.append(repr(error))

    askers = [threading.Thread(target=keep_asking) for _round in range(3)]
    for asker in askers:
        asker.start()
    for _round in range(5):
        server.check_output(f"systemctl reload {UNIT}")
        time.sleep(0.5)
    over.set()
    for asker in askers:
        asker.join()
    assert len(seen) > 20
    assert set(seen) == {200}


def test_requests_wait_for_an_upstream_that_restarts(team: Client, server: Host) -> None:
    server.check_output("systemctl stop slm-copilot")
    asked = [team.ask(5, stream=False)]
    time.sleep(3)
    asked += [team.ask(5, stream=False) for _round in range(3)]
    server.check_output("systemctl start --no-block slm-copilot")
    asked += [team.ask(5, stream=False) for _round in range(2)]  # while it loads its model
    assert [connection.getresponse().status for connection in asked] == [200] * 6


def test_an_upstream_that_stays_away(team: Client, server: Host) -> None:
    server.check_output("systemctl stop slm-copilot")
    try:
        asked = time.monotonic()
        answer = team.models()
        waited = time.monotonic() - asked
    finally:
        server.check_output("systemctl start slm-copilot")
    assert answer.status == 503
    assert answer.error["code"] == "service_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert 25 < waited < 90, "as long as gateway_restart_wait says"


def test_an_upstream_that_dies_says_so_in_the_right_form(team: Client, server: Host) -> None:
    connection = team.ask(30000, stream=False)
    eventually(lambda: busy_slots(server, team.key) == 1, "it is being answered")
    server.check_output("systemctl kill --signal=KILL slm-copilot")
    response = connection.getresponse()
    assert response.status == 502
    assert response.headers["Retry-After"]
    assert json.loads(response.read())["error"]["type"] == "server_error"
    assert team.models().status == 200, "the next one waits until it is back"
