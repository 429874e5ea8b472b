# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a developer's program gets while backends fail, and what becomes of the pool."""

from __future__ import annotations

import json
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import FaultProxy, Llama, Member, Service, Stream, certificate, count, wait_for

# Those that the full run adds are another status of the same kind.
FAULTS = ["reset", "cut", "401", "429", "500", *(pytest.param(fault, marks=pytest.mark.full) for fault in ("403", "502", "503"))]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_request_is_tried_at_each_other_backend(service: Service, proxies: list[FaultProxy], fault: str) -> None:
    for proxy in proxies[:2]:
        proxy.fault = fault
    for stream in (False, True, False, True):  # others than what a backend holds, so that retries are needed
        answer = service.chat(2, stream=stream, messages=[{"role": "user", "content": f"{fault} {time.monotonic()}"}])
        assert answer.status == 200, answer.text
    assert len(proxies[2].bodies) == 4
    assert all(1 <= len(proxy.bodies) <= 2 for proxy in proxies[:2])


def test_a_retry_goes_to_an_untried_backend_though_it_is_busier(service: Service, proxies: list[FaultProxy]) -> None:
    busy = [service.begin(3000, stream=True) for _round in proxies]
    for stream in busy:
        stream.first()
    for name in service.state:  # which may be of a moment ago
        service.wait_state(name, in_flight=1)
    busy[0].leave()
    idle = wait_for("one is idle", lambda: [name for name, one in service.state.items() if one["in_flight"] == 0])
    number = "abc".index(idle[0])
    proxies[number].fault = "reset"
    proxies[number].bodies.clear()
    answer = service.begin(2)
    service.wait_state(idle[0], failures=1)
    for stream in busy[1:]:
        stream.leave()
    assert answer.rest().status == 200
    assert len(proxies[number].bodies) == 1


@pytest.mark.parametrize(
    "fault", ["reset", "503", pytest.param("cut", marks=pytest.mark.full), pytest.param("500", marks=pytest.mark.full)]
)
def test_two_failures_in_a_row_take_a_backend_out_and_a_trial_lets_it_in(
    service: Service, proxies: list[FaultProxy], members: list[Member], fault: str
) -> None:
    service.wait_pool(*members, cooldown=3)
    proxies[0].fault = fault
    for _round in range(8):
        assert service.chat(2).status == 200
    assert len(proxies[0].bodies) == 2
    service.wait_state("a", state="open", failures=2)
    assert "backend a is out: 2 requests in a row failed there" in wait_for("log", lambda: service.log)
    proxies[0].fault = ""
    service.wait_state("a", state="trial")
    for _round in range(3):
        assert service.chat(2).status == 200
    service.wait_state("a", state="closed", failures=0)
    assert len(proxies[0].bodies) > 2


def test_a_request_that_every_backend_fails_is_to_blame_itself(service: Service, proxies: list[FaultProxy]) -> None:
    for proxy in proxies:
        proxy.fault = "500"
    for _round in range(4):
        answer = service.chat()
        assert answer.status == 500
        assert "fault 500" in answer.error["message"]
    assert count(proxies) == [4, 4, 4]
    service.settle("a", "b", "c")


def check_well_formed_end(stream: Stream) -> None:
    *pieces, error = stream.rest().events
    assert pieces
    assert "broke off its answer" in json.loads(error)["error"]["message"]
    assert set(json.loads(error)["error"]) == {"message", "type", "param", "code"}


def test_a_death_in_mid_stream_ends_well_formed_and_counts(
    service: Service, proxies: list[FaultProxy], members: list[Member]
) -> None:
    service.pool(members[0])
    service.settle("a")
    proxies[0].fault = "cut in data"
    stream = service.begin(50, stream=True)
    check_well_formed_end(stream)
    service.wait_state("a", failures=1, in_flight=0)
    check_well_formed_end(service.begin(50, stream=True))
    service.wait_state("a", state="open")


def test_what_a_backend_says_before_it_dies_is_the_end(
    service: Service, proxies: list[FaultProxy], members: list[Member]
) -> None:
    service.wait_pool(members[0])
    event = b'data: {"error": {"message": "its own words", "type": "server_error", "param": null, "code": "engine_failed"}}\n\n'
    proxies[0].amid, proxies[0].fault = b"%x\r\n%s\r\n" % (len(event), event), "cut in data"
    errors = [json.loads(one)["error"] for one in service.begin(50, stream=True).rest().events if '"error"' in one]
    assert [error["message"] for error in errors] == ["its own words"]
    service.wait_state("a", failures=1, in_flight=0)


@pytest.fixture
def victim(engine: Path, model: Path, tmp_path: Path) -> Iterator[Llama]:
    """A server that a test may kill."""
    server = Llama(engine, model, tmp_path)
    server.start()
    server.wait_ready()
    yield server
    server.kill()


@pytest.fixture
def with_victim(service: Service, members: list[Member], victim: Llama) -> Service:
    """A pool in which an idle backend is chosen after the victim."""
    service.pool(Member("victim", victim.port))
    service.settle("victim")
    return service


def test_kill_9_under_load(with_victim: Service, victim: Llama, members: list[Member], proxies: list[FaultProxy]) -> None:
    service = with_victim
    begun = service.begin(3000, stream=True)
    begun.first()
    waiting = [service.begin(2, stream=stream) for stream in (True, False)]  # queued behind it
    service.wait_state("victim", in_flight=3)
    service.pool(Member("victim", victim.port), members[0])
    service.wait_state("a", health="ready")
    victim.kill()
    check_well_formed_end(begun)
    for stream in waiting:
        answer = stream.rest()
        assert answer.status == 200, answer.text
    assert len(proxies[0].bodies) == 2
    service.wait_state("victim", health="down", in_flight=0)
    assert "backend victim is out: it cannot be reached" in service.log
    victim.start()
    service.wait_state("victim", health="ready", state="closed")


def test_backends_that_hang_are_out_and_one_that_streams_is_not(
    service: Service, victim: Llama, members: list[Member], proxies: list[FaultProxy]
) -> None:
    """Three at once, since each takes as long as the silence that makes a backend dead: one hangs, one has no network any more,
    and one does not say how it is, but pieces of its answer are signs of life. Each has a model of its own, to be asked by."""
    hanging = [
        Member("stopped", victim.port, models={"stopped": "tiny"}),
        Member("gone", proxies[1].port, models={"gone": "tiny"}),
    ]
    names = [one.id for one in hanging]
    talker = Member("talker", proxies[2].port, models={"talker": "tiny"})
    service.wait_pool(*hanging, talker)
    begun = [service.begin(3000, model=name, stream=True) for name in names]
    for stream in begun:
        stream.first()
    waiting = [service.begin(2, model=name, stream=stream) for name in names for stream in (True, False)]
    for name in names:
        service.wait_state(name, in_flight=3)
    members[0].models = dict.fromkeys(names, "tiny")
    service.pool(*hanging, talker, members[0])
    service.wait_state("a", health="ready")

    proxies[2].pause, proxies[2].mute = 0.25, True
    talking, began = service.begin(200, model="talker", stream=True), time.monotonic()
    victim.signal(signal.SIGSTOP)
    proxies[1].frozen.set()
    for stream in begun:
        check_well_formed_end(stream)
    for stream in waiting:
        answer = stream.rest()
        assert answer.status == 200, answer.text
    for name in names:
        service.wait_state(name, health="down", in_flight=0)
        assert f"backend {name} is out: it does not answer" in service.log
    victim.signal(signal.SIGCONT)
    proxies[1].frozen.clear()
    for name in names:
        service.wait_state(name, health="ready", state="closed")
        assert service.chat(2, model=name).status == 200

    while time.monotonic() - began < 15:  # or it proves nothing
        talking.first(talking.seen + 1)
    assert service.state["talker"]["health"] == "ready"
    proxies[2].pause = 0.0
    answer = talking.rest()
    assert answer.status == 200
    assert answer.events[-1] == "[DONE]"
    assert '"error"' not in answer.text


def test_a_backend_that_loads_its_model_is_not_used(service: Service, members: list[Member], proxies: list[FaultProxy]) -> None:
    loading = LoadingServer()
    try:
        service.pool(members[0], Member("new", loading.port))
        service.wait_state("new", health="loading")
        for _round in range(4):
            assert service.chat(2).status == 200
        assert len(proxies[0].bodies) == 4
        assert service.state["new"]["in_flight"] == 0
        assert "backend new is loading its model" in service.log
    finally:
        loading.close()


class LoadingServer(FaultProxy):
    """What llama-server answers before it is ready."""

    def __init__(self) -> None:
        super().__init__(0)

    def _request(self, client: object) -> tuple[bytes, bytes]:
        super()._request(client)  # type: ignore[arg-type]
        body = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
        client.sendall(  # type: ignore[attr-defined]
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        raise ValueError


@pytest.mark.parametrize("stream", [False, pytest.param(True, marks=pytest.mark.full)])
def test_all_down_and_back_within_two_seconds(service: Service, proxies: list[FaultProxy], stream: bool) -> None:
    for proxy in proxies:
        proxy.gone = True
    for name in "abc":
        service.wait_state(name, health="down")
    answer = service.chat(stream=stream)
    assert answer.status == 503
    assert "no backend can take model 'tiny' now: 3 down" in answer.error["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert service.request("GET", "/health").status == 503
    proxies[1].gone = False
    healthy = time.monotonic()
    wait_for("an answer", lambda: service.chat(2, stream=stream).status == 200)
    assert time.monotonic() - healthy < 2
    assert service.request("GET", "/health").status == 200


@pytest.mark.parametrize("stream", [True, pytest.param(False, marks=pytest.mark.full)])
def test_local_only_never_leaves_the_zone(
    service: Service, proxies: list[FaultProxy], members: list[Member], stream: bool
) -> None:
    members[1].zone = members[2].zone = "elsewhere"
    service.wait_pool(*members, zone_policy="local_only")
    for _round in range(3):
        assert service.chat(2, stream=stream).status == 200
    assert count(proxies) == [3, 0, 0]
    proxies[0].fault = "reset"
    assert service.chat(2, stream=stream).status == 503
    proxies[0].gone = True
    service.wait_state("a", health="down")
    answer = service.chat(2, stream=stream)
    assert answer.status == 503
    assert "in zone 'here'" in answer.error["message"]
    assert int(answer.headers["retry-after"]) >= 1
    assert count(proxies)[1:] == [0, 0]


def test_the_pool_changes_without_cutting_a_stream(service: Service, proxies: list[FaultProxy], members: list[Member]) -> None:
    service.pool(members[0])
    service.settle("a")
    stream = service.begin(300, stream=True)
    stream.first()
    members[1].models = {"other": "tiny"}
    service.pool(members[1])
    service.settle("b")
    assert [one["id"] for one in service.request("GET", "/v1/models").json["data"]] == ["other"]
    assert service.chat(2).status == 404
    assert service.chat(2, model="other").status == 200
    answer = stream.rest()
    assert answer.events[-1] == "[DONE]"
    assert len(answer.events) > 300


def test_broken_files_change_nothing(service: Service) -> None:
    good = (service.work / "pool.json").read_text()
    (service.work / "pool.json").write_text('{"backends": [')
    wait_for("the complaint", lambda: "the pool stays as it was" in service.log)
    assert service.chat(2).status == 200
    (service.work / "pool.json").write_text(good)
    service.settle("a", "b", "c")


def test_a_wrong_backend_key_is_found_before_a_request_is(
    service: Service, proxies: list[FaultProxy], members: list[Member]
) -> None:
    members[0].key = "sk-a-wrong-key-of-the-backend"
    service.pool(*members)
    service.wait_state("a", health="refused", detail="its key is refused (401)")
    for _round in range(4):
        assert service.chat(2).status == 200
    assert count(proxies)[0] == 0
    assert "backend a is out: its key is refused (401)" in service.log
    assert members[0].key not in service.log


def test_a_key_that_a_gateway_no_longer_accepts_is_noticed_without_a_request(service: Service, proxies: list[FaultProxy]) -> None:
    service.wait_state("a", health="ready")
    proxies[0].stranger = True
    service.wait_state("a", health="refused", detail="its key is refused (401)")
    for _round in range(4):
        assert service.chat(2).status == 200
    assert count(proxies)[0] == 0
    proxies[0].stranger = False
    service.wait_state("a", health="ready")


@pytest.mark.parametrize("inline", [False, True], ids=["CA in a file", "CA in the pool"])
def test_tls_to_a_backend_is_verified(service: Service, llamas: list[Llama], tmp_path: Path, inline: bool) -> None:
    ours, foreign = certificate(tmp_path, "ours"), certificate(tmp_path, "foreign")
    proxies = []
    for files in (ours, foreign):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
        proxies.append(FaultProxy(llamas[0].port, context))
    names = ("good", "bad")
    trusted = {"ca": ours[0].read_text()} if inline else {"ca_file": str(ours[0])}
    service.pool(*(Member(name, proxy.port, scheme="https", **trusted) for name, proxy in zip(names, proxies, strict=True)))
    service.wait_state("good", health="ready")
    service.wait_state("bad", health="refused")
    assert service.chat(2).status == 200
    assert count(proxies) == [1, 0]
    assert "backend bad is out: its certificate is not trusted" in service.log
    for proxy in proxies:
        proxy.close()


def test_a_renewed_ca_needs_no_restart(service: Service, llamas: list[Llama], tmp_path: Path) -> None:
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*new)
    proxy = FaultProxy(llamas[0].port, context)
    service.pool(Member("a", proxy.port, scheme="https", ca_file=str(old[0])))
    service.wait_state("a", health="refused")
    new[0].replace(old[0])
    service.wait_state("a", health="ready")
    assert service.chat(2).status == 200
    proxy.close()


def test_a_backend_leaves_with_its_ca(service: Service, members: list[Member], llamas: list[Llama], tmp_path: Path) -> None:
    """Whatever else the pool's files say then still holds: nobody reads a CA that nothing needs any more."""
    ours = certificate(tmp_path, "ours")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ours)
    proxy = FaultProxy(llamas[0].port, context)
    guest = Member("guest", proxy.port, scheme="https", ca_file=str(ours[0]))
    service.pool(*members, guest)
    service.wait_state("guest", health="ready")
    ours[0].unlink()
    service.pool(*members)
    wait_for("the guest has left", lambda: "guest" not in service.state)
    proxy.close()
