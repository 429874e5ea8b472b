# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-swap's API on a balancer, where it speaks for all servers: two hosts of several models, and one that may be away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import Answer, Llama, Member, Service, free_port, wait_for
from router_rig import EngineOnSocket, Router, serving

ROOT = {"X-Copilot-User": "root", "X-Copilot-Role": "admin"}
MODELS = {"qwen": "one", "coder": "two"}  # clients' names, and those of the hosts
BOTH = {"a": "ready", "b": "ready"}


@pytest.fixture(scope="module")
def hosts(router_venv: Path, engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Router]]:
    """Each with the models one and two, of which one is loaded at the start."""
    found, engines = {}, []
    preset = f"model = {model}\nctx-size = 1024\nparallel = 1\nthreads = 1\ncache-ram = 0\n"
    for name in ("a", "b"):
        work = tmp_path_factory.mktemp(name)
        llama = EngineOnSocket(engine, model, work, presets=f"[one]\n{preset}load-on-startup = true\n[two]\n{preset}")
        router = Router(router_venv, llama, work, models={"one": 1, "two": 1})
        llama.start()
        router.start()
        found[name] = router
        engines.append(llama)
    for router in found.values():
        router.wait_state(health="ready", models={"one": "loaded", "two": "unloaded"})
    yield found
    for router in found.values():
        router.stop()
    for llama in engines:
        llama.kill()


@pytest.fixture
def fleet(running: Service, hosts: dict[str, Router], llamas: list[Llama]) -> Service:
    """The service with both, and with a backend outside the fleet that has one of the models, too."""
    members = [Member(name, 9, socket=str(router.socket), models=MODELS) for name, router in hosts.items()]
    stranger = Member("stranger", llamas[0].port, models={"qwen": "tiny"}, foreign=True)
    running.wait_pool(*members, stranger)
    return running


def ask(service: Service, method: str, path: str, **who: str) -> Answer:
    return service.request(method, path, None, {**ROOT, **who})


def states(service: Service) -> dict[str, Any]:
    return {one["id"]: one["servers"] for one in ask(service, "GET", "/running").json["running"]}


def test_it_loads_and_unloads_everywhere(fleet: Service) -> None:
    assert states(fleet) == {"qwen": BOTH}
    warmed = ask(fleet, "GET", "/upstream/coder/health")
    assert (warmed.status, warmed.json) == (200, {"status": "ok", "servers": {"a": "ok", "b": "ok"}, "away": {}})
    wait_for("both have both", lambda: states(fleet) == {"qwen": BOTH, "coder": BOTH})
    unloaded = ask(fleet, "POST", "/api/models/unload/coder")
    assert (unloaded.status, unloaded.json) == (200, {"msg": "ok", "servers": {"a": "ok", "b": "ok"}, "away": {}})
    wait_for("it is gone", lambda: states(fleet) == {"qwen": BOTH})
    assert ask(fleet, "POST", "/api/models/unload").status == 200
    wait_for("all are", lambda: states(fleet) == {})
    assert ask(fleet, "GET", "/upstream/qwen/health").json["servers"] == {"a": "ok", "b": "ok"}


def test_it_counts_the_requests_of_all(fleet: Service) -> None:
    asked = {
        "model": "qwen",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 900,
        "stream": True,
        "ignore_eos": True,
    }
    before = {"id_slot": 0, "temperature": 1}
    streams = [fleet.open("POST", "/v1/chat/completions", {**asked, **before}) for _each in range(3)]
    try:
        wait_for("they are there", lambda: sum(_requests(fleet)) >= 2)
    finally:
        for stream in streams:
            stream.leave()
    wait_for("nothing is left", lambda: _requests(fleet) == [0, 0])


def _requests(service: Service) -> list[int]:
    (one,) = ask(service, "GET", "/running").json["running"]
    return [one["requests"], one["waiting"]]


def test_one_that_is_away_is_said_and_spoils_nothing(running: Service, hosts: dict[str, Router]) -> None:
    away = Member("gone", free_port(), models=MODELS)
    running.pool(Member("a", 9, socket=str(hosts["a"].socket), models=MODELS), away)
    running.wait_state("a", health="ready")
    running.wait_state("gone", health="down")
    running_now = ask(running, "GET", "/running").json
    assert list(running_now["away"]) == ["gone"] and "cannot be reached" in running_now["away"]["gone"]
    assert running_now["running"][0]["servers"] == {"a": "ready"}
    warmed = ask(running, "GET", "/upstream/qwen/health").json
    assert (warmed["servers"], list(warmed["away"])) == ({"a": "ok"}, ["gone"])
    running.pool(away)
    wait_for("it is alone", lambda: [one["health"] for one in running.state.values()] == ["down"])
    nobody = ask(running, "POST", "/api/models/unload/qwen")
    assert (nobody.status, nobody.error["code"]) == (503, "engine_down")
    assert "gone: it cannot be reached" in nobody.error["message"]


def test_a_backend_outside_is_not_asked(running: Service, llamas: list[Llama]) -> None:
    running.wait_pool(Member("stranger", llamas[0].port, foreign=True))
    assert ask(running, "GET", "/running").json == {"running": [], "away": {}}
    answer = ask(running, "GET", "/upstream/tiny/health")
    assert (answer.status, answer.error["code"]) == (409, "stays_loaded")


def test_what_a_server_refuses_is_told(running: Service, server_of_one: Router) -> None:
    running.wait_pool(Member("single", 9, socket=str(server_of_one.socket)))
    answer = ask(running, "POST", "/api/models/unload/tiny")
    assert (answer.status, answer.error["code"], "stays loaded" in answer.error["message"]) == (409, "stays_loaded", True)


@pytest.fixture
def server_of_one(router_venv: Path, engine: Path, model: Path, tmp_path: Path) -> Iterator[Router]:
    llama = EngineOnSocket(engine, model, tmp_path)
    router = Router(router_venv, llama, tmp_path)
    with serving(llama, router):
        yield router


@pytest.mark.parametrize("role", ["developer", "balancer"])
def test_it_is_for_administrators(fleet: Service, role: str) -> None:
    paths = [
        ("GET", "/running"),
        ("POST", "/api/models/unload"),
        ("POST", "/api/models/unload/qwen"),
        ("GET", "/upstream/qwen/health"),
    ]
    for method, path in paths:
        answer = ask(fleet, method, path, **{"X-Copilot-Role": role})
        assert (answer.status, answer.error["code"]) == (403, "admin_only")
    assert states(fleet) == {"qwen": BOTH}


def test_a_model_that_there_is_not(fleet: Service) -> None:
    for method, path in (
        ("GET", "/upstream/gpt-9/health"),
        ("POST", "/api/models/unload/gpt-9"),
        ("GET", "/upstream/one/health"),
    ):
        answer = ask(fleet, method, path)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
