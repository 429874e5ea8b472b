# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sockets that only take up room end in seconds, and a heap of them shuts out nobody. Whoever waits for an answer may wait."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from gateway_rig import Developer, Gateway
from rig import PATIENCE, FaultProxy, Llama, wait_for

CONNECTIONS, ADDRESS_CONNECTIONS = 64, 20
SECONDS = 2  # that a client has for what it owes
HELD = 520
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0whatever"


@pytest.fixture(scope="module")
def slow(upstream: Llama) -> Iterator[FaultProxy]:
    """A server whose answers come in pieces, with pauses that are longer than what a client may take."""
    proxy = FaultProxy(upstream.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def strict(slow: FaultProxy, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(
        tmp_path_factory.mktemp("strict"),
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{slow.port}",
        gateway_connections=CONNECTIONS,
        gateway_address_connections=ADDRESS_CONNECTIONS,
        gateway_unlimited_networks=["127.2.0.0/24"],
        gateway_client_timeout=SECONDS,
        gateway_body_timeout=2 * SECONDS,
        gateway_idle_timeout=SECONDS,
    )
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(strict: Gateway) -> Gateway:
    return strict


def connect(gateway: Gateway, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), PATIENCE, source_address=(address, 0))


def secured(developer: Developer, protocol: str) -> ssl.SSLSocket:
    context = developer.context()
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(connect(developer.gateway, developer.address), server_hostname="127.0.0.1")


def hello(developer: Developer) -> bytes:
    """How a handshake begins."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        developer.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


def nothing(developer: Developer) -> socket.socket:
    return connect(developer.gateway, developer.address)


def half_a_hello(developer: Developer) -> socket.socket:
    client = nothing(developer)
    client.sendall(hello(developer)[:60])
    return client


def half_a_handshake(developer: Developer) -> socket.socket:
    client = nothing(developer)
    client.sendall(hello(developer))
    return client


def no_request(developer: Developer) -> socket.socket:
    return secured(developer, "http/1.1")


def half_a_header(developer: Developer) -> socket.socket:
    client = secured(developer, "http/1.1")
    client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-More: ")
    return client


def half_a_body(developer: Developer) -> socket.socket:
    client = secured(developer, "http/1.1")
    key = f"Authorization: Bearer {developer.key}\r\n".encode()
    client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + key + b"Content-Length: 1000\r\n\r\n{")
    return client


def no_preface(developer: Developer) -> socket.socket:
    return secured(developer, "h2")


def no_stream(developer: Developer) -> socket.socket:
    client = secured(developer, "h2")
    client.sendall(PREFACE)
    return client


def half_a_stream(developer: Developer) -> socket.socket:
    client = secured(developer, "h2")
    client.sendall(PREFACE + b"\0\0\1\1\0\0\0\0\1\x82")
    return client


IDLE: list[Callable[[Developer], socket.socket]] = [
    *(nothing, half_a_hello, half_a_handshake, no_request, half_a_header, half_a_body, no_preface, no_stream, half_a_stream)
]
# What arrives drop by drop.
DRIPS = {half_a_header: b"a", no_stream: PING}


def end_of(client: socket.socket) -> bytes:
    """Reads until the gateway ends it."""
    data = b""
    with client, suppress(ConnectionResetError):
        client.settimeout(PATIENCE)
        while piece := client.recv(65536):
            data += piece
    return data


def test_what_only_takes_up_room_ends_in_seconds(alice: Developer) -> None:
    begin = time.monotonic()
    for name, client in {one.__name__: one(alice) for one in IDLE}.items():
        end_of(client)
        assert time.monotonic() - begin < 2 * SECONDS + 5, name  # the body may take that long, and the machine may be busy


def test_drops_do_not_keep_it_open(alice: Developer) -> None:
    over = threading.Event()

    def drip(client: socket.socket, drop: bytes) -> None:
        with suppress(OSError):
            while not over.wait(SECONDS / 4):
                client.sendall(drop)

    begin = time.monotonic()
    clients = {one(alice): drop for one, drop in DRIPS.items()}
    dripping = [threading.Thread(target=drip, args=one) for one in clients.items()]
    for one in dripping:
        one.start()
    for client in clients:
        end_of(client)
    over.set()
    for one in dripping:
        one.join()
    assert time.monotonic() - begin < SECONDS + 5


def test_who_only_connects_is_not_answered(alice: Developer) -> None:
    assert end_of(no_request(alice)) == b"", "browsers connect in advance"


def test_nobody_shuts_others_out(gateway: Gateway, alice: Developer, bob: Developer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * HELD)), hard))
    with ExitStack() as held:
        for _socket in range(HELD):
            client = held.enter_context(socket.socket())
            client.bind((alice.address, 0))
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", gateway.port))
        time.sleep(0.3)  # they arrive
        begin = time.monotonic()
        assert bob.models().status == 200
        assert time.monotonic() - begin < SECONDS, "before any of them has ended"


def test_one_address_has_so_many_connections(gateway: Gateway, alice: Developer, bob: Developer) -> None:
    with ExitStack() as held:
        for _socket in range(ADDRESS_CONNECTIONS):
            held.enter_context(secured(alice, "http/1.1"))
        with pytest.raises(OSError):  # reset or ended, whoever is faster
            secured(alice, "http/1.1")
        assert bob.models().status == 200, "another address goes through"
    wait_for("they are forgotten", lambda: alice_gets_in(alice))


def alice_gets_in(alice: Developer) -> bool:
    with suppress(OSError):
        return alice.models().status == 200
    return False


def test_balancers_have_as_many_as_they_need(gateway: Gateway) -> None:
    with ExitStack() as held:
        for _socket in range(ADDRESS_CONNECTIONS + 5):
            held.enter_context(secured(Developer(gateway, None, "127.2.0.1"), "http/1.1"))


def test_who_waits_for_an_answer_may_wait(gateway: Gateway, slow: FaultProxy, alice: Developer) -> None:
    slow.pause = 2 * SECONDS  # before each 128 bytes, the first as well
    command = ["curl", "--silent", "--fail", "--cacert", gateway.ca[0], "--interface", alice.address]
    command += ["--header", f"Authorization: Bearer {alice.key}", f"https://127.0.0.1:{gateway.port}/v1/completions"]
    asked = {}
    for stream, end in (("false", "}"), ("true", "data: [DONE]")):
        for version in ("--http1.1", "--http2"):
            question = f'{{"prompt": "a", "max_tokens": 1, "stream": {stream}}}'
            asked[version, stream] = (
                subprocess.Popen([*command, version, "--data", question], stdout=subprocess.PIPE, text=True),
                end,
            )
    time.sleep(5 * SECONDS)
    assert [one.poll() for one, _end in asked.values()] == [None] * 4, "all wait, and each has seen two pauses"
    slow.heal()
    for what, (client, end) in asked.items():
        answer = client.communicate(timeout=PATIENCE)[0]
        assert client.returncode == 0, what
        assert answer.rstrip().endswith(end), what


@pytest.mark.parametrize("size", [0, 1000, 250000])
def test_who_has_no_key_is_told_so_at_once(nobody: Developer, slow: FaultProxy, size: int) -> None:
    slow.gone = True  # it is not asked
    answer = nobody.request("POST", "/v1/chat/completions", b"x" * size)
    slow.heal()
    assert answer.status == 401
    assert answer.error["code"] == "invalid_api_key"


def test_of_who_has_no_key_no_body_is_awaited(nobody: Developer) -> None:
    client = secured(nobody, "http/1.1")
    client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 270000)
    begin = time.monotonic()
    client.settimeout(PATIENCE)
    assert client.recv(100).startswith(b"HTTP/1.1 401")
    assert time.monotonic() - begin < SECONDS
    client.close()
