# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a server is drained. That its router does so is seen in tests/contract."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server import draining
from ansible_collections.slm.copilot.plugins.module_utils._server.draining import DRAIN_SECONDS, connections, drained, mark
from ansible_collections.slm.copilot.plugins.module_utils._server.router import NobodyThere, client


class Router:
    """Says how many answers are under way, one after the other, and remembers what it was told."""

    def __init__(self, *busy: int, health: str = "ready") -> None:
        self.busy, self.health, self.told, self.now = list(busy), health, [], 0.0

    def ask(self, method: str, path: str, body: Any) -> tuple[int, str]:
        assert (method, path) == ("POST", "/router/drain")
        self.told.append(body["seconds"])
        busy = self.busy.pop(0) if len(self.busy) > 1 else self.busy[0]
        return 200, json.dumps({"busy": {"tiny": busy}, "health": self.health})

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def drained(self, timeout: float = 10, cut: bool = False) -> Any:
        return drained(self.ask, timeout, cut=cut, tell=lambda _n: None, clock=lambda: self.now, sleep=self.sleep)


def test_it_waits_until_nothing_is_under_way_and_lets_in_again() -> None:
    router = Router(2, 1, 0)
    with router.drained() as found:
        assert router.told == [DRAIN_SECONDS] * 3, "each time anew, since a drain ends by itself"
    assert (found.seconds, found.cut, router.told[-1]) == (0.5, 0, 0)


def test_it_does_not_end_while_the_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes."""
    monkeypatch.setattr(draining, "RENEW_SECONDS", 0.01)
    router = Router(0)
    with router.drained():
        until = time.monotonic() + 30
        while len(router.told) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert router.told[:4] == [DRAIN_SECONDS] * 4
    after = list(router.told)
    time.sleep(0.05)
    assert router.told == after and after[-1] == 0


@pytest.mark.parametrize("ask", [pytest.param(Router(0).ask, id="router"), pytest.param(None, id="no router")])
def test_callers_count_as_well(ask: Any) -> None:
    counts, told = [2, 1, 0], []
    with drained(ask, 10, cut=False, tell=told.append, callers=lambda: counts.pop(0), sleep=lambda _s: None):
        assert told == [2, 1]


def test_who_is_connected_to_a_socket_is_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "proxy.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert connections(path) == 0
        with socket.socket(socket.AF_UNIX) as accepted, socket.socket(socket.AF_UNIX) as waits:
            accepted.connect(path)
            waits.connect(path)
            with listener.accept()[0]:
                assert connections(path) == 2


def test_what_takes_too_long_leaves_all_as_it_was() -> None:
    router = Router(3)
    with pytest.raises(CopilotError, match="3 requests were still in flight after 10 seconds"), router.drained():
        pytest.fail("it ran")
    assert router.told[-1] == 0


def test_a_failure_lets_in_again() -> None:
    router = Router(0)
    with pytest.raises(RuntimeError), router.drained():
        raise RuntimeError
    assert router.told == [DRAIN_SECONDS, 0]


def test_an_engine_that_does_not_come_back_is_not_waited_for_without_end() -> None:
    router = Router(0)
    with router.drained():
        router.health = "down"
    assert 30 <= router.now < 32


def test_an_engine_that_was_not_there_is_not_waited_for() -> None:
    router = Router(0, health="down")
    with router.drained():
        pass
    assert router.now == 0


def test_without_a_router_nothing_is_under_way() -> None:
    def ask(_method: str, _path: str, _body: Any) -> tuple[int, str]:
        raise NobodyThere("nobody there")

    with drained(ask, 10, cut=False, tell=lambda _n: None) as found:
        pass
    assert (found.seconds, found.cut) == (0, 0)


def test_a_router_that_does_not_say_is_not_passed_by() -> None:
    """It may have answers under way."""

    def ask(_method: str, _path: str, _body: Any) -> tuple[int, str]:
        raise CopilotError("timed out")

    with pytest.raises(CopilotError, match="timed out"), drained(ask, 10, cut=False, tell=lambda _n: None):
        pytest.fail("it ran")


def _refuse(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_only_where_nothing_listens_is_nobody_there(tmp_path: Path) -> None:
    path = str(tmp_path / "router.sock")
    with pytest.raises(NobodyThere):
        client(path)("POST", "/router/drain", {})
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    with pytest.raises(NobodyThere):
        client(path)("POST", "/router/drain", {})
    listener.listen()
    threading.Thread(target=_refuse, args=(listener,), daemon=True).start()
    with pytest.raises(CopilotError) as told:
        client(path)("POST", "/router/drain", {})
    assert not isinstance(told.value, NobodyThere)


@pytest.mark.parametrize(("status", "text"), [(404, "{}"), (200, "[]"), (200, "no JSON"), (200, "{}")])
def test_what_is_no_router_of_ours(status: int, text: str) -> None:
    with pytest.raises(CopilotError, match="the router does not drain"):
        mark(lambda *_asked: (status, text), 1)
