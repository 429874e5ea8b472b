# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is let in, by the module that says so while HAProxy runs, and what the upstream is told. The upstream is a stand-in."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import DEVELOPERS, Developer, Gateway, entry
from rig import PATIENCE, Answer, answer_of, wait_for

ADMIN_KEY, BALANCER_KEY = "sk-admin-of-the-contract-tests", "sk-balancer-of-the-contract-tests"
KEYS = [*DEVELOPERS, entry("root", ADMIN_KEY, "admin"), entry("lb-1", BALANCER_KEY, "balancer")]
MANY = [entry(f"somebody-{number}", f"sk-somebody-{number}") for number in range(2000)]
HASH = re.compile("[0-9a-f]{64}")


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that it got. What is POSTed is answered by a stream that lasts until it is told to end."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()
    held = threading.Event()  # answers to /v1/models/held wait for it

    def do_GET(self) -> None:
        if self.path == "/v1/models/held":
            self.held.wait(PATIENCE)
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_OPTIONS = do_HEAD = do_GET

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        while not self.over.wait(0.05):
            self.wfile.write(b"data: more\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, *_said: object) -> None:
        pass


@pytest.fixture(scope="module")
def keyed(fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    upstream.daemon_threads = True
    upstream.handle_error = lambda *_whose: None  # type: ignore[method-assign]  # a client that leaves is none
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    gateway = Gateway(
        tmp_path_factory.mktemp("keyed"),
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{upstream.server_port}",
        gateway_keys=KEYS,
        gateway_admin_networks=["127.0.0.1"],
        gateway_address_requests=0,
        gateway_client_verify="optional",
        gateway_client_ca_path=str(fleet_ca[0]),
        gateway_client_replaces_key=True,
    )
    gateway.start()
    yield gateway
    gateway.stop()
    upstream.shutdown()
    upstream.server_close()


@pytest.fixture
def gateway(keyed: Gateway) -> Iterator[Gateway]:
    """With the keys of all, whatever the test before has done."""
    Upstream.over.clear()
    Upstream.held.clear()
    keyed.let_in(KEYS)
    yield keyed
    Upstream.over.set()
    Upstream.held.set()


class Kept:
    """A connection that a developer's program keeps open."""

    def __init__(self, developer: Developer) -> None:
        self._developer, self._connection = developer, developer.connect()

    def models(self) -> Answer:
        self._connection.request("GET", "/v1/models", headers=self._developer.headers())
        return answer_of(self._connection.getresponse())


def without(*developers: Developer) -> list[dict[str, Any]]:
    return [one for one in KEYS if one["name"] not in {developer.name for developer in developers}]


def told(answer: Answer) -> list[tuple[str, str]]:
    """The headers that the upstream got, and that say who asks or might say it."""
    assert answer.status == 200, answer
    words = ("copilot", "auth", "key", "litellm", "forwarded")
    return sorted((name, value) for name, value in answer.json if any(word in name for word in words))


def identity(name: str, role: str, address: str) -> list[tuple[str, str]]:
    said = [("x-copilot-role", role), ("x-copilot-user", name), ("x-forwarded-for", address), ("x-forwarded-proto", "https")]
    return sorted(said)


def test_the_upstream_is_told_who_asks_and_gets_no_key(alice: Developer) -> None:
    assert told(alice.models()) == identity(alice.name, "developer", alice.address)
    assert told(replace(alice, key=ADMIN_KEY).models()) == identity("root", "admin", alice.address)


@pytest.mark.parametrize(
    "name",
    [
        *("X-Copilot-User", "x-copilot-role", "X-COPILOT-ROLE", "X_Copilot_User", "X-Copilot_Role", "X-Litellm-Api-Key"),
        *("Api-Key", "X-Goog-Api-Key", "X-Forwarded-For", "Forwarded", "X-Forwarded-Proto"),
    ],
)
def test_nobody_says_who_they_are(alice: Developer, nobody: Developer, name: str) -> None:
    assert told(alice.request("GET", "/v1/models", **{name: "root"})) == identity(alice.name, "developer", alice.address)
    passed = told(nobody.request("GET", "/health", **{name: "root"}))
    assert passed == [("x-forwarded-for", nobody.address), ("x-forwarded-proto", "https")]


def test_not_even_twice_or_as_a_header_of_the_connection(alice: Developer) -> None:
    connection = alice.connect()
    connection.putrequest("GET", "/v1/models")
    connection.putheader("Authorization", f"Bearer {alice.key}")
    for _round in range(2):
        connection.putheader("X-Copilot-User", "root")
        connection.putheader("X-Copilot-Role", "admin")
    connection.putheader("Connection", "X-Copilot-User, X-Copilot-Role")
    connection.endheaders()
    assert told(answer_of(connection.getresponse())) == identity(alice.name, "developer", alice.address)


def test_a_balancer_says_for_whom_it_asks(alice: Developer) -> None:
    balancer = replace(alice, key=BALANCER_KEY)
    asked = balancer.request("GET", "/v1/models", **{"X-Copilot-User": "bob", "X-Copilot-Role": "admin"})
    assert told(asked) == identity("bob", "balancer", alice.address)
    assert told(balancer.models()) == identity("lb-1", "balancer", alice.address), "for nobody: it asks for itself"


def test_a_certificate_asks_by_its_name(alice: Developer, certified: Callable[[str], Developer]) -> None:
    def asked(name: str) -> list[tuple[str, str]]:
        return told(certified(name).models())

    assert asked("carol.b-1_c") == identity("carol.b-1_c", "developer", alice.address)
    assert asked("a\r\nX-Copilot-Role: admin") == identity("a%0D%0AX-Copilot-Role%3A%20admin", "developer", alice.address)
    assert asked("root") == identity("root", "admin", alice.address)
    assert asked("ro%6Ft") == identity("ro%256Ft", "developer", alice.address), "no name that only looks like it"
    assert asked("lb-1") == identity("lb-1", "developer", alice.address), "a balancer comes with its key"


def test_an_administrator_with_a_certificate_sees_how_the_server_is_doing(
    gateway: Gateway, alice: Developer, certified: Callable[[str], Developer]
) -> None:
    root = certified("root")
    assert root.request("GET", "/metrics").status == 200
    assert certified("carol").request("GET", "/metrics").status == 404
    as_alice = replace(certified("root"), key=alice.key)
    assert told(as_alice.models()) == identity(alice.name, "developer", alice.address), "a key says who asks"
    assert replace(alice, key="certificate/root").models().status == 401, "what stands for a certificate is no key"
    root = certified("root")
    gateway.let_in([one for one in KEYS if one["name"] != "root"])
    assert told(root.models()) == identity("root", "developer", alice.address), "no administrator any more, at once"
    gateway.let_in([*DEVELOPERS, entry("root", ADMIN_KEY, "admin", expires=int(time.time()) - 1)])
    assert told(root.models()) == identity("root", "developer", alice.address)


@pytest.mark.parametrize(
    "header",
    [
        *("Authorization: Bearer {}", "Authorization: bearer {}", "authorization:\tBEARER \t {} \t", "X-Api-Key: {}"),
        "x-api-key: \t {} \t",
    ],
)
def test_blanks_and_case_do_not_matter(alice: Developer, header: str) -> None:
    assert alice.key
    client = alice.context().wrap_socket(
        socket.create_connection(("127.0.0.1", alice.gateway.port), PATIENCE), server_hostname="127.0.0.1"
    )
    client.sendall(f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{header.format(alice.key)}\r\nConnection: close\r\n\r\n".encode())
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    client.close()


@pytest.mark.parametrize("key", ["{}x", "x{}", "{0} {0}", "", "{sha256}"])
def test_what_is_nearly_a_key_is_none(alice: Developer, key: str) -> None:
    assert alice.key
    wrong = key.format(alice.key, sha256=hashlib.sha256(alice.key.encode()).hexdigest())
    assert replace(alice, key=wrong).models().status == 401


@pytest.mark.parametrize("path", ["/metrics", "/slots", "/props", "/router/state"])
def test_admins_and_balancers_see_from_anywhere_how_the_server_is_doing(alice: Developer, path: str) -> None:
    assert alice.request("GET", path).status == 404
    for key in (ADMIN_KEY, BALANCER_KEY):
        assert replace(alice, key=key).request("GET", path).status == 200
    assert replace(alice, address="127.0.0.1").request("GET", path).status == 200, "as from their networks"
    assert replace(alice, address="127.0.0.1", key=None).request("GET", path).status == 401


PREFLIGHT = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}


def test_a_browser_asks_without_a_key_what_it_may_ask(gateway: Gateway, nobody: Developer) -> None:
    assert told(nobody.request("OPTIONS", "/v1/chat/completions", **PREFLIGHT))[0][0] == "x-forwarded-for"
    for left_out in PREFLIGHT:
        some = {name: value for name, value in PREFLIGHT.items() if name != left_out}
        assert nobody.request("OPTIONS", "/v1/chat/completions", **some).status == 401
    assert nobody.request("POST", "/v1/chat/completions", "{}", **PREFLIGHT).status == 401
    assert replace(nobody, address="127.0.0.1").request("OPTIONS", "/metrics", **PREFLIGHT).status == 401


def test_head_is_passed_on(alice: Developer) -> None:
    assert alice.request("HEAD", "/v1/models").status == 200


def test_a_new_key_works_at_once(gateway: Gateway, nobody: Developer) -> None:
    zoe = replace(nobody, key="sk-zoe-of-the-contract-tests")
    kept = Kept(zoe)
    assert kept.models().status == 401
    done = gateway.let_in([*KEYS, entry("zoe", "sk-zoe-of-the-contract-tests")])
    assert kept.models().status == 200
    assert done["changed"] and done["file_changed"] and done["changed_workers"] == done["workers"]
    assert all("zoe" in one["after"] and "zoe" not in one["before"] for one in done["diff"]), "people see who came"


def test_a_withdrawn_key_fails_at_once_and_cuts_nothing(gateway: Gateway, alice: Developer, bob: Developer) -> None:
    kept, bobs = Kept(alice), Kept(bob)
    assert (kept.models().status, bobs.models().status) == (200, 200)
    stream = alice.ask(1)
    stream.first()
    gateway.let_in(without(alice))
    refused = kept.models()
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert (alice.models().status, bobs.models().status) == (401, 200)
    seen = stream.seen
    stream.first(seen + 5)
    Upstream.over.set()
    assert stream.rest().events[-1] == "[DONE]"


def test_on_an_open_connection_of_http_2_too(gateway: Gateway, alice: Developer, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text(f"Authorization: Bearer {alice.key}\n")
    site = f"https://127.0.0.1:{gateway.port}/v1/models"
    options = ["--silent", "--http2", "--cacert", str(gateway.ca[0]), "--header", f"@{tmp_path / 'headers'}"]
    options += ["--output", "/dev/null", "--write-out", "%{http_version} %{http_code} %{num_connects}\n"]
    client = subprocess.Popen(["curl", *options, f"{site}/held", "--next", *options, site], stdout=subprocess.PIPE, text=True)
    wait_for("it is asked", lambda: gateway.passed_on() == 1)
    gateway.let_in(without(alice))
    Upstream.held.set()
    assert client.communicate(timeout=PATIENCE)[0].splitlines() == ["2 200 1", "2 401 0"]


def test_in_a_process_that_a_reload_left_over_too(gateway: Gateway, alice: Developer, bob: Developer) -> None:
    stream, kept = alice.ask(1), Kept(bob)
    stream.first()
    assert kept.models().status == 200
    old = gateway.let_in(KEYS)["workers"]
    gateway.reload()
    done = gateway.let_in(without(alice, bob))
    assert set(old) < set(done["changed_workers"]), "the stream keeps an old one"
    assert kept.models().status == 401
    stream.first(stream.seen + 5)
    assert gateway.let_in(without(alice))["changed_workers"] == done["changed_workers"]
    Upstream.over.set()
    assert stream.rest().events[-1] == "[DONE]"
    wait_for("the old one ends", lambda: len(gateway.let_in(without(alice))["workers"]) == 1)


def test_a_key_ends_by_itself(gateway: Gateway, alice: Developer) -> None:
    assert alice.key
    end = int(time.time()) + 4
    gateway.let_in([*without(alice), entry(alice.name, alice.key, expires=end)])
    kept, answers = Kept(alice), []
    while time.time() < end + 1:
        asked = time.time()
        status = kept.models().status
        answers.append((asked, time.time(), status))
        time.sleep(0.1)
    assert [status for _asked, answered, status in answers if answered < end] and answers[-1][2] == 401
    assert all(status == 200 for _asked, answered, status in answers if answered < end)
    assert all(status == 401 for asked, _answered, status in answers if asked >= end)


def test_what_is_there_already_is_left_alone(gateway: Gateway) -> None:
    file = gateway.folder / "keys.map"
    before = file.stat()
    done = gateway.let_in(KEYS)
    assert not done["changed"]
    assert done["workers"] and done["diff"] == []
    assert file.stat().st_ino == before.st_ino
    assert before.st_mode & 0o777 == 0o640


def test_check_mode_says_what_would_change(gateway: Gateway, alice: Developer) -> None:
    done = gateway.let_in(without(alice), check_mode=True)
    assert done["changed"] and done["changed_workers"]
    assert alice.models().status == 200
    assert not gateway.let_in(KEYS)["changed"]


def test_a_run_that_was_cut_off_after_the_file_is_made_good(gateway: Gateway, alice: Developer) -> None:
    gateway.let_in(without(alice), socket="/nowhere/master.sock")
    assert alice.models().status == 200
    done = gateway.let_in(without(alice))
    assert (done["file_changed"], len(done["changed_workers"])) == (False, 1)
    assert alice.models().status == 401


def test_no_hash_is_shown(gateway: Gateway, alice: Developer) -> None:
    for keys, fails in ((without(alice), False), (KEYS, False), ([*KEYS, {**KEYS[0], "name": "eve"}], True)):
        done = gateway.let_in(keys, fails=fails)
        assert not HASH.search(done["output"])
        assert done["invocation"]["module_args"]["keys"] == f"{len(keys)} keys"
    assert "has the same key" in done["msg"]


def test_where_haproxy_does_not_run_the_file_is_written(gateway: Gateway, tmp_path: Path) -> None:
    done = gateway.let_in(KEYS, path=str(tmp_path / "keys.map"), socket=str(tmp_path / "none/master.sock"))
    assert (done["changed"], done["workers"]) == (True, [])
    assert (tmp_path / "keys.map").read_bytes() == (gateway.folder / "keys.map").read_bytes()


def test_during_reloads_no_withdrawn_key_comes_back(gateway: Gateway, alice: Developer, bob: Developer) -> None:
    over = threading.Event()

    def reload_often() -> None:
        while not over.is_set():
            gateway.reload()

    reloading = threading.Thread(target=reload_often)
    reloading.start()
    try:
        for _round in range(3):
            gateway.let_in(without(alice))
            assert {alice.models().status for _ask in range(5)} == {401}
            gateway.let_in(KEYS)
            assert {alice.models().status for _ask in range(5)} == {200}
    finally:
        over.set()
        reloading.join()
    wait_for("the last one is over", lambda: len(gateway.let_in(KEYS)["workers"]) == 1, every=1)
    assert bob.models().status == 200


def test_two_thousand_keys_are_quick(gateway: Gateway, alice: Developer) -> None:
    took = []
    for keys in (KEYS + MANY, KEYS + MANY, KEYS + MANY[:-1], KEYS):
        begin = time.monotonic()
        gateway.let_in(keys)
        took.append(time.monotonic() - begin)
    assert max(took) < 5, took
    assert alice.models().status == 200
