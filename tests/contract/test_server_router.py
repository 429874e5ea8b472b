# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The router of a server, before a real llama-server with two slots."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.presets import presets
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import planned_settings, resolve, served
from ansible_collections.slm.copilot.plugins.module_utils._server.draining import drained
from ansible_collections.slm.copilot.plugins.module_utils._server.router import client
from rig import PATIENCE, ROUTER, FaultProxy, Member, Service, Stream, wait_for
from router_rig import EngineOnSocket, Follower, Router, Watching
from test_several_models import SETTINGS

ADMIN = {"X-Copilot-Role": "admin"}
LONG = 12000  # tokens that nobody waits for
TOO_LONG = [{"role": "user", "content": "word " * 20000}]


@pytest.fixture(scope="module")
def started(router_venv: Path, llama: EngineOnSocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    router = Router(router_venv, llama, tmp_path_factory.mktemp("router"))
    router.start()
    yield router
    router.stop()


@pytest.fixture
def router(started: Router, llama: EngineOnSocket) -> Iterator[Router]:
    """The router with an engine that is ready; whatever a test does, no slot stays taken."""
    if llama.process is None:
        llama.start()
    started.wait_state(health="ready", busy={"tiny": 0})
    yield started
    started.admin.request("POST", "/router/drain", {"seconds": 0})
    started.wait_state(busy={"tiny": 0}, queued={"tiny": 0}, draining=0)
    if llama.process is not None:
        llama.wait_idle()


def taken(router: Router, number: int = 2) -> list[Stream]:
    """Returns streams that hold that many slots."""
    streams = [router.developer.begin(LONG, stream=True) for _slot in range(number)]
    for stream in streams:
        stream.first()
    return streams


def leave(streams: list[Stream]) -> None:
    for stream in streams:
        stream.leave()


# Slots and the queue


def test_more_requests_than_slots_wait_and_llama_server_never_has_more(router: Router, llama: EngineOnSocket) -> None:
    with Watching(llama) as seen:
        streams = []
        for _request in range(7):
            streams.append(router.developer.begin(300, stream=True))
            time.sleep(0.02)
        most = router.state
        answers = [stream.rest() for stream in streams]
    assert [(answer.status, answer.events[-1]) for answer in answers] == [(200, "[DONE]")] * 7
    assert (most["busy"], most["queued"]["tiny"] >= 3) == ({"tiny": 2}, True), most
    assert (seen.processing, seen.deferred) == (2, 0)


def test_the_oldest_is_next(router: Router) -> None:
    holders = taken(router)
    ended = []

    def ask(number: int) -> None:
        assert router.developer.chat(40).status == 200
        ended.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        router.wait_state(queued={"tiny": number})
    holders.pop().leave()  # one slot, so that they go one after the other
    for thread in threads:
        thread.join()
    leave(holders)
    assert ended == [0, 1, 2, 3]


def test_a_stream_that_waits_gets_signs_of_life_and_then_its_answer(router: Router) -> None:
    holders = taken(router)
    began = time.monotonic()
    stream = router.developer.begin(4, stream=True)
    assert stream.response.status == 200
    assert stream.response.headers["content-type"] == "text/event-stream"
    other = router.developer.begin(4, stream=True)
    for place, waiting in enumerate((stream, other)):
        for _sign in range(3):
            assert waiting.response.readline() == f": waiting, {place} before you\n".encode()
            waiting.response.readline()
    assert 1.4 < time.monotonic() - began < 8
    leave(holders)
    assert [one.rest().events[-1] for one in (stream, other)] == ["[DONE]"] * 2


def test_an_error_that_comes_after_a_sign_of_life_is_the_streams_last_event(router: Router) -> None:
    holders = taken(router)
    stream = router.developer.begin(4, stream=True, messages=TOO_LONG)
    assert stream.response.readline() == b": waiting, 0 before you\n"
    leave(holders)
    error = json.loads(stream.rest().events[-1])["error"]
    assert (error["code"], error["n_ctx"]) == ("context_length_exceeded", 16384), error


def test_an_error_that_comes_before_keeps_its_status(router: Router) -> None:
    answer = router.developer.chat(stream=True, messages=TOO_LONG)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


def test_what_needs_no_slot_does_not_wait(router: Router) -> None:
    holders = taken(router)
    assert router.developer.request("GET", "/v1/models").json["data"][0]["id"] == "tiny"
    assert router.developer.request("POST", "/tokenize", {"content": "hello"}).json["tokens"]
    leave(holders)


# Clients that leave


def test_who_leaves_frees_the_slot_at_llama_server_too(router: Router, llama: EngineOnSocket) -> None:
    for stream in taken(router):
        stream.leave()
    router.wait_state(busy={"tiny": 0})
    wait_for("llama-server stops computing", lambda: llama.requests[0] == 0, 10, every=1.5)


def test_who_leaves_before_the_answer_begins_frees_the_slot(router: Router, llama: EngineOnSocket) -> None:
    llama.signal(signal.SIGSTOP)
    try:
        asked = [router.developer.begin(LONG, stream=streams) for streams in (True, False)]
        router.wait_state(busy={"tiny": 2})
        leave(asked)
        time.sleep(1)
        assert router.state["busy"] == {"tiny": 2}  # llama-server cannot have noticed
    finally:
        llama.signal(signal.SIGCONT)
    router.wait_state(busy={"tiny": 0})


def test_nobody_gets_a_slot_at_which_llama_server_still_works_for_who_left(router: Router, llama: EngineOnSocket) -> None:
    """While another slot streams, it notices late that nobody waits for an answer that is none."""
    (stream,) = taken(router, 1)
    whole = router.developer.begin(LONG, stream=False)
    wait_for("llama-server works for both", lambda: llama.requests[0] == 2, 10, every=0.2)
    with Watching(llama) as seen:
        whole.leave()
        late = router.developer.begin(3, stream=True)
        time.sleep(3)
    stream.leave()
    late.rest()
    assert seen.deferred == 0


def test_who_leaves_while_waiting_is_not_asked_for(router: Router) -> None:
    holders = taken(router)
    waiting = [router.developer.begin(LONG, stream=streams) for streams in (True, False)]
    router.wait_state(queued={"tiny": 2})
    leave(waiting)
    router.wait_state(queued={"tiny": 0}, busy={"tiny": 2})
    leave(holders)


# The engine dies, and comes back


def test_while_the_engine_is_away_people_wait_and_balancers_do_not(router: Router, llama: EngineOnSocket) -> None:
    broken = taken(router)
    queued = router.developer.begin(4)
    router.wait_state(queued={"tiny": 1})
    llama.kill()
    for stream in broken:
        last = json.loads(stream.rest().events[-1])
        assert last["error"]["code"] == "engine_failed", last
    router.wait_state(health="down", queued={"tiny": 1})
    new, listing = router.developer.begin(4, stream=True), router.developer.open("GET", "/v1/models")
    router.wait_state(queued={"tiny": 2})
    assert new.response.readline() == b": waiting for the engine\n"
    began = time.monotonic()
    refused = router.balancer.chat()
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "engine_down", "10")
    assert time.monotonic() - began < 1
    assert router.developer.request("GET", "/health").status == 503
    llama.start(wait=False)
    assert (queued.rest().status, listing.rest().status) == (200, 200)
    assert new.rest().events[-1] == "[DONE]"
    assert router.developer.request("GET", "/health").json == {"status": "ok"}


def test_a_request_whose_answer_had_not_begun_is_sent_again(router: Router, llama: EngineOnSocket) -> None:
    llama.signal(signal.SIGSTOP)  # it takes them, and says nothing
    asked = [router.developer.begin(4, stream=streams) for streams in (True, False)]
    of_balancer = router.balancer.begin(4)
    router.wait_state(busy={"tiny": 2}, queued={"tiny": 1})
    llama.kill()
    refused = of_balancer.rest()
    assert (refused.status, refused.error["code"]) == (503, "engine_down")
    llama.start(wait=False)
    assert [stream.rest().status for stream in asked] == [200, 200]


def test_a_balancers_request_at_an_engine_that_dies_goes_elsewhere(router: Router, llama: EngineOnSocket) -> None:
    llama.signal(signal.SIGSTOP)
    asked = router.balancer.begin(4)
    router.wait_state(busy={"tiny": 1})
    llama.kill()
    assert (asked.rest().status, asked.rest().error["code"]) == (503, "engine_down")


def test_an_engine_that_stays_away_is_told_in_the_end(router_venv: Path, engine: Path, model: Path, tmp_path: Path) -> None:
    nowhere = EngineOnSocket(engine, model, tmp_path)
    router = Router(router_venv, nowhere, tmp_path, restart_wait=1)
    router.start()
    try:
        answer = router.developer.chat()
        assert (answer.status, answer.error["code"]) == (503, "engine_down")
        events = router.developer.chat(stream=True).events
        assert json.loads(events[-1])["error"]["code"] == "engine_down"  # a sign of life came first
    finally:
        router.stop()


# Requests as they are


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b"\xff"], ids=["cut", "empty", "list", "no text"])
def test_what_is_no_json_is_refused_as_openai_does(router: Router, body: bytes) -> None:
    answer = router.developer.request("POST", "/v1/chat/completions", body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


def test_a_large_body_arrives_as_it_was_sent(router: Router) -> None:
    text = "".join(chr(0x4E00 + number % 20000) for number in range(4_000_000))  # 12 MB
    answer = router.developer.request("POST", "/apply-template", {"messages": [{"role": "user", "content": text}]})
    assert text in answer.json["prompt"]


def test_browsers_questions_are_answered_by_llama_server_itself(router: Router, llama: EngineOnSocket) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    asked = [caller.request("OPTIONS", "/v1/chat/completions", **headers) for caller in (router.developer, llama.direct)]
    kept = [{name: value for name, value in one.headers.items() if name.startswith("access-control-")} for one in asked]
    assert (asked[0].status, kept[0]) == (asked[1].status, kept[1])
    assert kept[0]
    assert router.developer.request("HEAD", "/v1/models").status == llama.direct.request("HEAD", "/v1/models").status


def test_what_is_not_there_is_llama_servers_to_say(router: Router) -> None:
    answer = router.developer.request("GET", "/nowhere")
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert "GET /nowhere" in answer.error["message"]


# Draining


def test_a_drain_sends_balancers_away_holds_people_and_ends_by_itself(router: Router) -> None:
    assert router.developer.request("POST", "/router/drain", {"seconds": 2}).status == 404
    said = router.admin.request("POST", "/router/drain", {"seconds": 2})
    assert (said.status, said.json["draining"]) == (200, 2)
    began = time.monotonic()
    refused = router.balancer.chat()
    assert (refused.status, refused.error["code"]) == (503, "draining")
    assert router.state["draining"] > 0
    assert router.developer.chat().status == 200
    assert 1.5 < time.monotonic() - began < 10
    assert router.balancer.chat().status == 200


def test_a_restart_cuts_no_answer_and_new_requests_wait(router: Router, llama: EngineOnSocket) -> None:
    """As a change of the engine goes. A balancer asks elsewhere."""
    stream = router.developer.begin(400, stream=True)
    stream.first()
    seen: list[int] = []
    answers: list[int] = []
    with drained(client(str(router.socket), ADMIN), 30, cut=False, tell=seen.append) as found:
        assert (llama.requests, router.balancer.chat().error["code"]) == ((0, 0), "draining")
        waiting = threading.Thread(target=lambda: answers.append(router.developer.chat().status))
        waiting.start()
        wait_for("a developer waits", lambda: router.state["queued"]["tiny"] == 1)
        llama.kill()
        router.wait_state(health="down")
        llama.start()
    waiting.join(PATIENCE)
    assert (answers, stream.rest().events[-1]) == ([200], "[DONE]")
    assert (set(seen), found.cut) == ({1}, 0) and found.seconds > 0
    assert router.balancer.chat().status == 200


@pytest.mark.parametrize("cut", [False, True])
def test_an_answer_that_takes_too_long_is_cut_only_when_that_is_meant(router: Router, cut: bool) -> None:
    streams, ran = taken(router), False
    wait = drained(client(str(router.socket), ADMIN), 1, cut=cut, tell=lambda _number: None)
    refused = pytest.raises(CopilotError, match="2 requests were still in flight after 1 seconds")
    with contextlib.nullcontext() if cut else refused, wait as found:
        ran = True
        assert found.cut == 2
    assert (ran, router.state["draining"]) == (cut, 0)
    leave(streams)


@pytest.mark.parametrize("body", [{}, {"seconds": -1}, {"seconds": 86400}, {"seconds": True}, {"seconds": "1"}, b"{"])
def test_a_drain_without_an_end_is_refused(router: Router, body: object) -> None:
    assert router.admin.request("POST", "/router/drain", body).status == 400


# The stream of the state


def lines(stream: Stream) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.rest().text.splitlines()]


def test_the_state_is_for_balancers_and_admins(router: Router) -> None:
    stream = router.admin.open("GET", "/router/state")
    assert stream.response.headers["content-type"] == "application/x-ndjson"
    stream.leave()
    assert router.developer.request("GET", "/router/state").status == 404


def test_the_state_beats_ends_after_its_time_and_goes_on_after_its_last_number(router: Router) -> None:
    began = time.monotonic()
    seen = lines(router.balancer.open("GET", "/router/state"))
    assert 2.5 < time.monotonic() - began < 6
    assert 4 <= len(seen) <= 8
    assert len({one["seq"] for one in seen}) == 1
    assert not any("held" in one for one in seen)  # without a key that balancers share, they could recognise nothing
    mark = f"{seen[-1]['instance']}:{seen[-1]['seq']}"
    stream = router.balancer.open("GET", f"/router/state?after={mark}")
    assert stream.response.status == 200
    holders = taken(router, 1)
    first = json.loads(stream.response.readline())
    assert first["seq"] > seen[-1]["seq"]
    leave(holders)
    stream.leave()


def test_two_balancers_see_the_same_load(router: Router, router_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    balancers = [Follower(router_venv, tmp_path_factory.mktemp("balancer"), here=router.socket) for _balancer in range(2)]
    try:
        for one in balancers:
            one.wait("here", health="ready", reported=0)
        streams = [*taken(router), router.balancer.begin(LONG, stream=True)]
        for one in balancers:
            assert one.wait("here", reported=3)["in_flight"] == 0  # none of it is its own
        leave(streams)
        for one in balancers:
            one.wait("here", reported=0)
        router.admin.request("POST", "/router/drain", {"seconds": 4})
        for health in ("draining", "ready"):
            for one in balancers:
                one.wait("here", health=health)
        time.sleep(4)  # a stream ends meanwhile, and is taken up again
        assert [one.wait("here", health="ready")["detail"] for one in balancers] == ["", ""]
    finally:
        for one in balancers:
            one.stop()


def test_a_balancer_sees_an_engine_die_and_a_router_that_says_nothing(
    router_venv: Path, engine: Path, model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    llama = EngineOnSocket(engine, model, tmp_path)
    router = Router(router_venv, llama, tmp_path)
    router.start()
    balancer = Follower(router_venv, tmp_path_factory.mktemp("balancer"), here=router.socket)
    try:
        balancer.wait("here", health="down", detail="its engine is not there")
        llama.start()
        balancer.wait("here", health="ready")
        router.stop(signal.SIGTERM)  # its socket stays: a restart is no reason to go elsewhere
        time.sleep(2)
        assert balancer.wait("here", health="ready")
        router.start()
        time.sleep(1)
        router.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        balancer.wait("here", 25, health="down")
        assert time.monotonic() - began > 8
        router.process.send_signal(signal.SIGCONT)
        balancer.wait("here", health="ready")
    finally:
        balancer.stop()
        router.stop()
        llama.kill()


# Under LiteLLM: what a router can say in its stream only, because it kept the request alive, is an answer like others


@pytest.fixture
def balancer(service: Service, router: Router, proxies: list[FaultProxy]) -> Service:
    """A balancer with this server, and with another one that it chooses second."""
    service.wait_pool(Member("here", 9, socket=str(router.socket)))
    return service


def test_a_late_refusal_of_the_request_keeps_its_status(balancer: Service, router: Router) -> None:
    holders = taken(router)
    asked = balancer.begin(4, stream=True, messages=TOO_LONG)
    router.wait_state(queued={"tiny": 1})
    time.sleep(1)  # a sign of life comes
    leave(holders)
    answer = asked.rest()
    assert (answer.status, "context" in answer.error["message"]) == (400, True), answer.text
    balancer.wait_state("here", health="ready", failures=0)


def test_an_engine_that_dies_after_signs_of_life_is_no_answer(
    balancer: Service, router: Router, llama: EngineOnSocket, proxies: list[FaultProxy]
) -> None:
    llama.signal(signal.SIGSTOP)
    asked = balancer.begin(4, stream=True)
    router.wait_state(busy={"tiny": 1})
    time.sleep(1)
    balancer.pool(Member("here", 9, socket=str(router.socket)), Member("other", proxies[0].port))
    balancer.wait_state("other", health="ready")
    llama.kill()
    answer = asked.rest()
    assert (answer.status, answer.events[-1]) == (200, "[DONE]"), answer.text
    assert len(proxies[0].bodies) == 1


# The process


def test_a_restart_refuses_nobody_and_finishes_what_has_begun(
    router: Router, router_venv: Path, llama: EngineOnSocket, tmp_path: Path
) -> None:
    lasting = Router(router_venv, llama, tmp_path, state_length=60)
    lasting.start()
    try:
        lasting.wait_state(health="ready")
        streaming = lasting.developer.begin(400, stream=True)
        streaming.first()
        following = lasting.balancer.open("GET", "/router/state")
        following.response.readline()
        began = time.monotonic()
        stopping = threading.Thread(target=lasting.stop, args=(signal.SIGTERM,))
        stopping.start()
        time.sleep(0.3)
        meanwhile = lasting.developer.begin(4)  # waits in the socket
        assert streaming.rest().events[-1] == "[DONE]"
        following.rest()
        stopping.join()
        assert time.monotonic() - began < 20  # who follows keeps nobody waiting
        lasting.start()
        assert meanwhile.rest().status == 200
    finally:
        lasting.stop()


# Slots and models that llama-server knows better


def test_slots_can_be_learnt(router_venv: Path, llama: EngineOnSocket, router: Router, tmp_path: Path) -> None:
    other = Router(router_venv, llama, tmp_path, models={"tiny": 0})
    other.start()
    try:
        assert other.wait_state(health="ready")["slots"] == {"tiny": 2}
    finally:
        other.stop()


@pytest.fixture(scope="module")
def several(engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineOnSocket]:
    """A host with three models, of which two have room at a time, and one of these is pinned."""
    models = served(["one", {"id": "two", "context_size": 512, "slots": 2}, {"id": "pinned", "pinned": True}], "one")
    cpu = {"usable_cores": 1, "usable_cpus": 1}
    resolved = resolve(models, dict.fromkeys(("one", "two", "pinned"), str(model)), SETTINGS, {}, cpu, {})
    text = presets(resolved, planned_settings(resolved, None))
    server = EngineOnSocket(engine, model, tmp_path_factory.mktemp("several"), presets=text)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def router_of_several(router_venv: Path, several: EngineOnSocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    models = {"one": 1, "two": 0, "pinned": 1}
    router = Router(router_venv, several, tmp_path_factory.mktemp("router"), models=models, pinned=["pinned"])
    router.start()
    yield router
    router.stop()


def process_of(several: EngineOnSocket, name: str) -> list[str]:
    found = several.direct.request("GET", "/models").json["data"]
    return next(one["status"]["args"] for one in found if one["id"] == name)


def test_a_pinned_model_stays_while_others_take_turns(router_of_several: Router, several: EngineOnSocket) -> None:
    router = router_of_several
    wait_for("it is kept", lambda: "pinned is kept loaded" in router.log)
    before = process_of(several, "pinned")
    for name in ("one", "two", "one", "two"):
        answer = router.developer.chat(2, model=name)
        assert (answer.status, answer.json["model"]) == (200, name)
        assert router.wait_state(models={"one": "unloaded", "two": "unloaded", "pinned": "loaded", name: "loaded"})
    assert process_of(several, "pinned") == before
    assert router.developer.chat(2, model="pinned").status == 200
    assert router.log.count("is kept loaded") == 1


def test_a_stream_that_waits_for_its_model_says_so(router_of_several: Router) -> None:
    router_of_several.developer.chat(2, model="one")
    router_of_several.wait_state(models={"one": "loaded", "two": "unloaded", "pinned": "loaded"})
    answer = router_of_several.developer.chat(2, model="two", stream=True)
    assert (answer.text.split("\n")[0], answer.events[-1]) == (": waiting for the model to load", "[DONE]")


def test_each_model_has_slots_of_its_own(router_of_several: Router) -> None:
    assert router_of_several.wait_state(health="ready")["slots"] == {"one": 1, "two": 2, "pinned": 1}


def test_contexts_are_known_of_models_that_are_not_loaded(router_of_several: Router) -> None:
    router_of_several.developer.chat(2, model="one")
    router_of_several.wait_state(models={"one": "loaded", "two": "unloaded", "pinned": "loaded"})
    models = {one["id"]: one for one in router_of_several.developer.request("GET", "/v1/models").json["data"]}
    assert models["two"]["meta"]["n_ctx"] == 512, "for each slot, of which it has two"
    assert models["two"]["status"] == {"value": "unloaded"}, "without paths of this host"
    assert models["one"]["meta"]["n_ctx"] == SETTINGS["context_size"]
    assert router_of_several.developer.request("GET", "/v1/models/two").json["meta"]["n_ctx"] == 512


# What administrators do with models


def test_administrators_load_and_unload(router_of_several: Router) -> None:
    admin = router_of_several.admin

    def loaded() -> set[str]:
        return {one["id"] for one in admin.request("GET", "/running").json["running"] if one["state"] == "ready"}

    assert admin.request("GET", "/upstream/two/health").json == {"status": "ok"}
    wait_for("it is loaded", lambda: {"two", "pinned"} <= loaded())
    assert admin.request("POST", "/api/models/unload/two").json == {"msg": "ok"}
    wait_for("it is unloaded", lambda: loaded() == {"pinned"})
    assert admin.request("GET", "/upstream/one/health").status == 200
    assert admin.request("POST", "/api/models/unload").json == {"msg": "ok"}
    wait_for("only the pinned one is left", lambda: loaded() == {"pinned"})
    kept = admin.request("POST", "/api/models/unload/pinned")
    assert (kept.status, kept.error["code"]) == (409, "stays_loaded")
    assert admin.request("GET", "/upstream/huge/health").error["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/running"),
        ("POST", "/api/models/unload"),
        ("POST", "/api/models/unload/one"),
        ("GET", "/upstream/one/health"),
    ],
)
def test_nobody_else_does(router_of_several: Router, method: str, path: str) -> None:
    answer = router_of_several.developer.request(method, path)
    assert (answer.status, answer.error["code"]) == (403, "admin_only")


@pytest.mark.parametrize(("body", "status"), [({"model": "huge"}, 404), ({}, 400)], ids=["unknown", "none"])
def test_a_model_that_is_not_there_is_told(router_of_several: Router, body: dict[str, str], status: int) -> None:
    answer = router_of_several.developer.request("POST", "/v1/chat/completions", body)
    assert answer.status == status
    assert status == 400 or "There is: one, pinned, two." in answer.error["message"]


# A client that leaves just as a piece of its answer arrives: the reader is cancelled in the round of the event loop in which its
# socket becomes readable.
LEAVES = """
import asyncio, socket, sys
from copilot_router.engine import Connection, pieces

async def ask():
    async with Connection(sys.argv[1]).ask("GET", b"/") as answer:
        async for piece in pieces(answer):
            pass

async def main():
    loop, said = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: said.append(context))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    listener.setblocking(False)
    asking = asyncio.create_task(ask())
    server, _address = await loop.sock_accept(listener)
    await loop.sock_recv(server, 65536)
    await loop.sock_sendall(server, b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nx")
    await asyncio.sleep(0.2)
    server.send(b"x")
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.sleep(0.2)
    server.setblocking(True)
    print(said, server.recv(1))

asyncio.run(main())
"""


def test_a_client_that_leaves_as_its_answer_arrives_is_no_error(router_venv: Path, tmp_path: Path) -> None:
    command = [router_venv / "bin/python", "-c", LEAVES, tmp_path / "socket"]
    environment = {"PYTHONPATH": str(ROUTER), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stdout, done.stderr) == ("[] b''\n", ""), "nothing is logged, and the engine sees that nobody listens"
