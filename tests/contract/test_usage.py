# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is counted of each developer is what was sent, once, whichever way it came."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from metrics_rig import samples_of
from rig import USAGE_KEY, Member, Service, wait_for
from router_rig import Caller, EngineOnSocket, Router


def kept(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns the sums of all days, should it be midnight."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in folder.glob("*.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            sums = found.setdefault((line.pop("developer"), line.pop("model")), dict.fromkeys(line, 0))
            sums |= {name: sums[name] + value for name, value in line.items()}
    return found


@contextmanager
def counting(venv: Path, llama: EngineOnSocket, work: Path, **usage: str) -> Iterator[Router]:
    """Has a router run that counts."""
    (work / "usage").mkdir()
    router = Router(venv, llama, work, usage_folder=str(work / "usage"), usage_kept=86400, **usage)
    router.start()
    try:
        router.wait_state(health="ready")
        yield router
    finally:
        router.stop()


@pytest.fixture
def router(router_venv: Path, llama: EngineOnSocket, tmp_path: Path) -> Iterator[Router]:
    with counting(router_venv, llama, tmp_path, usage="name") as router:
        yield router


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": True}),
    ("/v1/completions", {"prompt": "def f", "max_tokens": 5, "stream": True}),
    ("/v1/responses", {"input": "hello", "max_output_tokens": 7, "stream": True}),
]
UNTIMED = ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 6})


def engine_counts(router: Router) -> dict[str, float]:
    """Returns what llama-server has counted by itself."""
    said = samples_of(router.developer.request("GET", "/metrics"))
    found = {name: said.sum(f"llamacpp_{name}_total") for name in ("prompt_tokens", "prompt_tokens_cached", "tokens_predicted")}
    seconds = sum(said.sum(f"llamacpp_{name}_seconds_total") for name in ("prompt", "tokens_predicted"))
    return {**found, "seconds": seconds}


def test_each_way_to_ask_is_counted(router: Router, llama: EngineOnSocket) -> None:
    def grown_by(caller: Caller, asked: list[tuple[str, dict[str, Any]]], **headers: str) -> dict[str, float]:
        before = engine_counts(router)
        for path, body in asked:
            answer = caller.request("POST", path, {"model": "tiny", "ignore_eos": True, **body}, **headers)
            assert answer.status == 200, answer.text
        llama.wait_idle()
        return {name: value - before[name] for name, value in engine_counts(router).items()}

    grown = grown_by(router.developer, ASKED)
    began = time.monotonic()
    untimed = grown_by(router.balancer, [UNTIMED], **{"X-Copilot-User": "carol"})
    passed = time.monotonic() - began
    for _time in range(2):  # one that a balancer asks for is bob's all the same
        body = {"model": "tiny", "prompt": "x", "max_tokens": 1}
        assert router.balancer.request("POST", "/v1/completions", body, **{"X-Copilot-User": "bob"}).status == 200
    assert router.developer.request("POST", "/v1/completions", {"model": "tiny", "prompt": 7.5}).status == 400
    left = router.developer.begin(12000, stream=True)
    left.first()
    left.leave()
    wait_for("the router sees who left", lambda: "outcome=left" in router.log)
    router.stop(signal.SIGTERM)
    found = kept(router.work / "usage")
    assert set(found) == {("alice", "tiny"), ("bob", "tiny"), ("carol", "tiny")}
    alice, bob, carol = (found[name, "tiny"] for name in ("alice", "bob", "carol"))
    assert (alice["requests"], alice["broken_off"]) == (len(ASKED), 1)
    assert (bob["requests"], bob["broken_off"], bob["generated"]) == (2, 0, 2)
    assert alice["generated"] == 4 + 3 + 5 + 7 == grown["tokens_predicted"]
    assert (alice["computed"], alice["cached"]) == (grown["prompt_tokens"], grown["prompt_tokens_cached"])
    assert alice["seconds"] == pytest.approx(grown["seconds"], abs=0.01)
    assert carol["generated"] == 6 == untimed["tokens_predicted"]
    assert (carol["computed"], carol["cached"]) == (untimed["prompt_tokens"], untimed["prompt_tokens_cached"])
    # Of these answers llama-server says no times: from the question to the end of the answer is what is known.
    assert untimed["seconds"] < carol["seconds"] < passed


def test_what_was_counted_outlives_a_kill(router: Router) -> None:
    router.developer.chat(4)
    wait_for("it is written", lambda: kept(router.work / "usage"))
    router.stop()
    router.start()
    router.wait_state(health="ready")
    router.developer.chat(4)
    router.stop(signal.SIGTERM)
    assert kept(router.work / "usage")["alice", "tiny"]["requests"] == 2


def test_a_fleet_counts_once(
    service: Service, members: list[Member], router_venv: Path, llama: EngineOnSocket, tmp_path: Path
) -> None:
    """The server counts who asked the balancer; what another engine answers, the balancer counts. Both have one pseudonym."""
    folder, key = service.work / "usage", tmp_path / "usage-key"
    folder.mkdir()
    key.write_text(USAGE_KEY)
    rules = {"access_log": "pseudonym", "usage": "pseudonym", "usage_folder": str(folder), "usage_kept": 86400}
    pseudonym = hmac.new(USAGE_KEY.encode(), b"alice", hashlib.sha256).hexdigest()[:16]
    with counting(router_venv, llama, tmp_path, usage="pseudonym", usage_key_file=str(key), access_log="pseudonym") as router:
        service.wait_pool(Member("own", 0, socket=str(router.socket)), **rules)
        said_before = len(service.log)
        assert service.chat(3, stream=True).events[-1] == "[DONE]"
        assert service.request("POST", "/v1/messages", {"model": "tiny", **UNTIMED[1]}).status == 200
        service.wait_pool(Member("foreign", members[0].port, foreign=True), **rules)
        assert service.chat(5).status == 200
        wait_for("the balancer writes", lambda: kept(folder), 15)
        router.stop(signal.SIGTERM)
        for log in (router.log, service.log[said_before:]):
            assert f"request user={pseudonym} model=" in log
            assert "alice" not in log
    assert kept(tmp_path / "usage")[pseudonym, "tiny"]["requests"] == 2
    assert {who: line["requests"] for (who, _model), line in kept(folder).items()} == {pseudonym: 1}
    service.wait_pool(*members, usage_folder=str(folder))
    wait_for("what was kept goes", lambda: not kept(folder), 15)
