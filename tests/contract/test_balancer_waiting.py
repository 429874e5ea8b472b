# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a developer's program gets from a balancer while it waits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from rig import FaultProxy, Member, Service, Stream, wait_for

QUICK = {"first_sign": 0.5, "signs": 0.5}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Copilot-History: merged\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


@pytest.fixture
def holding(service: Service, proxies: list[FaultProxy], members: list[Member]) -> Iterator[Service]:
    """The service with quick signs and one backend, which answers nothing until it is told to."""
    service.wait_pool(members[0], **QUICK)
    proxies[0].held.set()
    yield service
    proxies[0].heal()


def lines(stream: Stream, number: int) -> list[str]:
    """Returns so many lines that are not empty, as soon as they are there."""
    found: list[str] = []
    while len(found) < number:
        line = stream.response.readline().decode()
        assert line, f"ended early: {found}"
        found += [line.strip()] if line.strip() else []
    return found


def test_a_stream_that_waits_gets_signs_of_life_and_then_its_answer(holding: Service, proxies: list[FaultProxy]) -> None:
    began = time.monotonic()
    stream = holding.begin(4, stream=True)
    assert (stream.response.status, stream.response.headers["content-type"]) == (200, "text/event-stream")
    assert lines(stream, 3) == [": waiting"] * 3
    assert 1.4 < time.monotonic() - began < 8
    proxies[0].held.clear()
    assert stream.rest().events[-1] == "[DONE]"


def test_the_first_sign_comes_in_time_by_default(service: Service, proxies: list[FaultProxy], members: list[Member]) -> None:
    service.wait_pool(members[0])
    proxies[0].held.set()
    began = time.monotonic()
    stream = service.begin(4, stream=True)
    assert lines(stream, 1) == [": waiting"]
    assert time.monotonic() - began < 10
    stream.leave()


def test_what_does_not_stream_gets_no_sign(holding: Service, proxies: list[FaultProxy]) -> None:
    asked = holding.begin(2)
    holding.wait_state("a", in_flight=1)
    time.sleep(1.2)  # signs would have come
    proxies[0].held.clear()
    answer = asked.rest()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json["choices"]


@pytest.mark.parametrize(("status", "stream"), [("400", True), ("500", True), ("400", False)])
def test_an_error_that_is_known_before_keeps_its_status(
    holding: Service, proxies: list[FaultProxy], status: str, stream: bool
) -> None:
    proxies[0].held.clear()
    proxies[0].fault = status
    answer = holding.chat(stream=stream)
    assert (answer.status, answer.error["message"]) == (int(status), f"fault {status}")


def test_an_error_that_comes_later_is_the_last_event(holding: Service, proxies: list[FaultProxy]) -> None:
    stream = holding.begin(4, stream=True, grammar="root ::= (")
    assert lines(stream, 1) == [": waiting"]
    proxies[0].held.clear()
    error = json.loads(stream.rest().events[-1])["error"]
    assert (error["code"], error["type"]) == (400, "invalid_request_error")
    assert "grammar" in error["message"]


def test_what_a_server_s_router_says_meanwhile_is_passed_on(holding: Service, proxies: list[FaultProxy]) -> None:
    stream = holding.begin(4, stream=True)
    assert lines(stream, 1) == [": waiting"]
    proxies[0].signs = HEAD + chunk(b": queue 3\n\n")
    wait_for("the comment", lambda: lines(stream, 1) == [": queue 3"])
    proxies[0].amid = chunk(b": amid\n\n")
    proxies[0].held.clear()
    answer = stream.rest()
    assert "\n\n: amid\n\ndata: " in answer.text
    assert answer.events[-1] == "[DONE]"


def test_what_a_server_s_router_did_with_the_history_is_told_with_the_first_sign(
    holding: Service, proxies: list[FaultProxy]
) -> None:
    proxies[0].signs = HEAD + chunk(b": queue 3\n\n")
    stream = holding.begin(4, stream=True)
    assert stream.response.headers["x-copilot-history"] == "merged"
    assert lines(stream, 1) == [": waiting"], "a comment before the head has left the status open"
    proxies[0].held.clear()
    assert stream.rest().events[-1] == "[DONE]"


def test_a_backend_that_dies_meanwhile_is_replaced_unseen(
    holding: Service, proxies: list[FaultProxy], members: list[Member]
) -> None:
    stream = holding.begin(4, stream=True)
    assert lines(stream, 1) == [": waiting"]
    holding.pool(*members[:2], **QUICK)
    holding.wait_state("b", health="ready")
    proxies[0].gone = True
    answer = stream.rest()
    assert answer.events[-1] == "[DONE]"
    assert [len(proxy.bodies) for proxy in proxies] == [1, 1, 0]


def test_when_all_die_meanwhile_the_last_event_says_so(holding: Service, proxies: list[FaultProxy]) -> None:
    stream = holding.begin(4, stream=True)
    assert lines(stream, 1) == [": waiting"]
    proxies[0].gone = True
    error = json.loads(stream.rest().events[-1])["error"]
    assert (error["type"], error["code"]) == ("server_error", "503")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_while_it_waits_ends_its_request_at_the_backend(
    holding: Service, proxies: list[FaultProxy], stream: bool
) -> None:
    asked = holding.begin(4, stream=stream)
    if stream:
        assert lines(asked, 1) == [": waiting"]
    holding.wait_state("a", in_flight=1)
    asked.leave()
    wait_for("the backend sees it", lambda: proxies[0].left == 1)
    holding.wait_state("a", in_flight=0, failures=0, served=holding.state["a"]["served"])
