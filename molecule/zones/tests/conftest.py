# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: three zones, their balancer, and developers who never stop."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

from people import FLEET, PROJECT, Client, Operator, Stream

ZONES = PROJECT / "molecule/zones/inventory/zones.yml"
BALANCER = "10.89.79.11"
SERVERS = ("madrid-1", "paris-1", "berlin-1")
UNIT = "slm-copilot.service"
PROXY = "slm-copilot-proxy.service"


def eventually(true: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


class Balancer:
    """The host with LiteLLM, as somebody sees it who logs in there."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def backends(self) -> dict[str, dict[str, Any]]:
        content = json.loads(self.host.check_output("cat /run/slm-copilot-proxy/state.json"))
        return {one["id"]: one for one in content["backends"]}

    def served(self) -> dict[str, int]:
        return {name: one["served"] for name, one in self.backends().items()}

    def usable(self) -> set[str]:
        return {name for name, one in self.backends().items() if one["health"] == "ready" and one["state"] == "closed"}

    def wait_for(self, *names: str) -> None:
        eventually(lambda: self.usable() == set(names), f"usable are {', '.join(names)}; there are {self.backends()}")

    def log_since(self, mark: str) -> str:
        return self.host.check_output(f"journalctl --unit={PROXY} --no-pager --output=cat --after-cursor='{mark}'")

    def mark(self) -> str:
        said = self.host.check_output(f"journalctl --unit={PROXY} --no-pager --show-cursor --lines=0")
        return said.rpartition("-- cursor: ")[2].strip()


class Crowd:
    """Developers, each of whom asks again as soon as the answer is there."""

    def __init__(self, client: Client, developers: int, tokens: int) -> None:
        self.streams: list[Stream] = []
        self.failures: list[str] = []
        self._client, self._tokens = client, tokens
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _one in range(developers)]

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                stream = self._client.stream(max_tokens=self._tokens)
            except (OSError, ValueError) as error:
                self.failures.append(repr(error))
            else:
                self.streams.append(stream)

    def asked(self, more: int) -> None:
        """Returns when so many more answers have come."""
        before = len(self.streams)
        eventually(lambda: len(self.streams) >= before + more, f"{more} more answers; failures: {self.failures}")

    def lost(self) -> list[str]:
        """What a developer saw that was not an answer. A stream that ends with an error event and [DONE] after its first piece
        is not among it: its server died."""
        return self.failures + [
            f"status {one.status}, {len(one.pieces)} pieces, finished {one.finished}: {one.error}"
            for one in self.streams
            if one.status != 200 or not one.finished or (one.error and not one.pieces)
        ]

    def cut(self) -> list[Stream]:
        """Streams that had begun on a server that died."""
        return [one for one in self.streams if one.error]

    def __enter__(self) -> Crowd:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join(timeout=120)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, [ZONES])


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    here = {"controller": testinfra.get_host("local://")}
    return here | {name: testinfra.get_host(f"podman://{name}") for name in (*SERVERS, "oslo-1")}


@pytest.fixture(scope="session")
def balancer(hosts: dict[str, Host]) -> Balancer:
    return Balancer(hosts["madrid-1"])


def key_of(name: str, file: str) -> str:
    """Returns a key out of one of the fleet's files on the controller."""
    lines = (FLEET / file).read_text().splitlines()
    return lines[lines.index(f"# name: {name}") + 1]


@pytest.fixture
def client() -> Client:
    return Client(key_of("shared", "api-keys"), BALANCER)


@pytest.fixture
def crowd(client: Client) -> Callable[..., Crowd]:
    return lambda developers=6, tokens=400: Crowd(client, developers, tokens)


@pytest.fixture(autouse=True)
def all_is_well(request: pytest.FixtureRequest, balancer: Balancer) -> Iterator[None]:
    """Each test begins with three usable servers. When one fails, the router's words are shown."""
    balancer.wait_for(*SERVERS)
    mark = balancer.mark()
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(balancer.log_since(mark)[-6000:])


@contextmanager
def spoilt(host: Host, spoil: str, mend: str) -> Iterator[None]:
    """Does something bad to a host, and mends it in any case."""
    try:
        host.check_output(spoil)
        yield
    finally:
        host.check_output(mend)
