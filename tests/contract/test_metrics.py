# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server and a balancer count is what was asked of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._model.presets import presets
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import planned_settings, resolve, served
from metrics_rig import Samples, check, grows_by, samples_of
from rig import ADA, ALICE, ROUTER, FaultProxy, Member, Service, wait_for
from router_rig import Caller, EngineOnSocket, Router
from test_several_models import SETTINGS

DEVELOPERS = 2000
MOST_SECONDS = 0.001  # that all the counting of a request may take
HELLO = [{"role": "user", "content": "hello"}]
TOO_LONG = [{"role": "user", "content": "word " * 20000}]


@pytest.fixture(scope="module")
def router(router_venv: Path, llama: EngineOnSocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    started = Router(router_venv, llama, tmp_path_factory.mktemp("router"))
    started.start()
    started.wait_state(health="ready")
    yield started
    started.stop()


def of_server(router: Router) -> Samples:
    return samples_of(router.developer.request("GET", "/metrics"))


def of_balancer(service: Service) -> Samples:
    return samples_of(service.request("GET", "/metrics"))


def timings(stream: Any) -> dict[str, Any]:
    """What the last event says."""
    return dict(json.loads(stream.rest().events[-2])["timings"])


def test_a_server_counts_what_it_was_asked(router: Router, llama: EngineOnSocket) -> None:
    before = of_server(router)
    said = [timings(router.admin.begin(number, stream=True)) for number in (3, 5, 8)]
    said += [router.admin.chat(4).json["timings"] for _whole in range(2)]
    assert router.developer.chat(messages=TOO_LONG).status == 400
    left = router.developer.begin(12000, stream=True)
    left.first()
    left.leave()
    assert router.developer.request("POST", "/tokenize", {"content": "hello"}).status == 200, "which needs no slot"
    generated = 3 + 5 + 8 + 4 + 4
    grows_by(
        lambda: of_server(router),
        before,
        {
            ("copilot_server_requests_total", "model=tiny", "outcome=answered"): 5,
            ("copilot_server_requests_total", "model=tiny", "outcome=invalid"): 1,
            ("copilot_server_requests_total", "model=tiny", "outcome=left"): 1,
            ("copilot_server_requests_total",): 7,
            ("copilot_server_queue_seconds_count", "model=tiny"): 7,
            ("copilot_server_first_token_seconds_count", "model=tiny"): 4,
            ("copilot_server_first_token_seconds_count", "prompt=unknown"): 1,
            ("copilot_server_tokens_total", "kind=computed"): sum(one["prompt_n"] for one in said),
            ("copilot_server_tokens_total", "kind=cached"): sum(one["cache_n"] for one in said),
            ("copilot_server_tokens_total", "kind=generated"): generated,
            ("copilot_server_refusals_total",): 0,
        },
    )
    llama.wait_idle()


def hints(answer: dict[str, Any]) -> tuple[bool, int]:
    """Returns whether an answer says what was held of its prompt, in llama-server's way, and how much in OpenAI's."""
    return "cache_n" in answer["timings"], answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_administrators_alone_read_what_was_held(router: Router) -> None:
    asked = {"messages": [{"role": "user", "content": "the start of a prompt that somebody sent " * 9}], "id_slot": 0}
    router.developer.chat(1, **asked)
    said = {role: getattr(router, role).chat(1, **asked).json for role in ("developer", "admin", "balancer")}
    assert {role: hints(one)[0] for role, one in said.items()} == {"developer": False, "admin": True, "balancer": True}
    assert hints(said["developer"])[1] == 0 < hints(said["admin"])[1]
    assert said["developer"]["usage"]["prompt_tokens"] == said["admin"]["usage"]["prompt_tokens"]
    assert "cache_n" not in timings(router.developer.begin(1, stream=True, **asked))
    assert "cache_n" in timings(router.admin.begin(1, stream=True, **asked))


def test_so_they_do_of_a_balancer(service: Service) -> None:
    assert [hints(service.chat(1, who=who).json)[0] for who in (ALICE, ADA)] == [False, True]
    assert ["cache_n" in timings(service.begin(1, who=who, stream=True)) for who in (ALICE, ADA)] == [False, True]


def test_each_request_is_logged_without_its_words(router: Router) -> None:
    secret = [{"role": "user", "content": "the-prompt-that-nobody-logs"}]
    body = {"messages": secret, "max_tokens": 4, "ignore_eos": True, "stream": True}
    router.developer.open("POST", "/v1/chat/completions", body, **{"X-Copilot-User": "bob of nowhere"}).rest()
    line = wait_for("it is logged", lambda: next((one for one in router.log.splitlines() if "user=bob" in one), ""))
    pattern = r"INFO: request user=bob\?of\?nowhere model=tiny outcome=answered status=200 seconds=\d+\.\d first=\d+\.\d "
    assert re.fullmatch(pattern + r"computed=\d+ cached=\d+ generated=4", line), line
    assert "the-prompt" not in router.log


def test_llama_servers_counters_come_with_the_servers(router: Router, llama: EngineOnSocket) -> None:
    router.developer.chat(4)
    theirs = Samples(llama.direct.request("GET", "/metrics").text.replace("llamacpp:", "llamacpp_"))
    ours = of_server(router)
    for name in ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total", "n_decode_total"):
        assert ours.sum(f"llamacpp_{name}", model="tiny") == theirs.sum(f"llamacpp_{name}") > 0
    assert "llamacpp_prompt_tokens_seconds" not in ours.names(), "which two who look would spoil for each other"


def test_a_warm_prompt_is_told_from_a_cold_one(router: Router) -> None:
    long = [{"role": "user", "content": "a prompt that nobody sent before " * 20}]
    cold = of_server(router)
    router.developer.chat(2, messages=long, stream=True)
    grows_by(lambda: of_server(router), cold, {("copilot_server_first_token_seconds_count", "prompt=cold"): 1})
    warm = of_server(router)
    router.developer.chat(2, messages=long, stream=True)
    grows_by(
        lambda: of_server(router),
        warm,
        {
            ("copilot_server_first_token_seconds_count", "prompt=warm"): 1,
            ("copilot_server_first_token_seconds_count", "prompt=cold"): 0,
        },
    )


def test_the_time_to_the_first_token_is_the_prompts(router: Router) -> None:
    before = of_server(router)
    seconds = (
        timings(router.developer.begin(2, stream=True, messages=[{"role": "user", "content": "much " * 3000}]))["prompt_ms"]
        / 1000
    )
    counted = of_server(router)
    name = "copilot_server_first_token_seconds_sum"
    assert counted.sum(name) - before.sum(name) >= 0.9 * seconds > 0, "and not to the first sign of life"


def test_who_waits_and_who_runs_is_seen(router: Router, llama: EngineOnSocket) -> None:
    streams = [router.developer.begin(12000, stream=True) for _slot in range(2)]
    for stream in streams:
        stream.first()
    third = router.developer.begin(4, stream=True)
    router.wait_state(queued={"tiny": 1})
    seen = of_server(router)
    assert [seen.sum(f"copilot_server_{name}", model="tiny") for name in ("slots", "requests_running", "requests_queued")] == [
        2,
        2,
        1,
    ]
    for stream in streams:
        stream.leave()
    third.rest()
    wait_for(
        "the wait is counted",
        lambda: of_server(router).sum("copilot_server_queue_seconds_sum") > seen.sum("copilot_server_queue_seconds_sum"),
    )
    llama.wait_idle()


def test_a_drain_is_seen_and_each_503_counted(router: Router) -> None:
    before = of_server(router)
    router.admin.request("POST", "/router/drain", {"seconds": 60})
    wait_for("it is logged", lambda: bool(re.search(r"INFO: action user=\S+ what=drain model=- status=200", router.log)))
    assert [router.balancer.chat().status for _request in range(3)] == [503] * 3
    assert 0 < of_server(router).sum("copilot_server_draining_seconds") <= 60
    router.admin.request("POST", "/router/drain", {"seconds": 0})
    grows_by(
        lambda: of_server(router),
        before,
        {
            ("copilot_server_refusals_total", "model=tiny", "reason=draining"): 3,
            ("copilot_server_requests_total", "outcome=refused"): 3,
            ("copilot_server_draining_seconds",): 0,
        },
    )


def test_the_engines_version_is_told_and_its_memory_as_the_kernel_counts_it(
    router_venv: Path, llama: EngineOnSocket, router: Router, tmp_path: Path
) -> None:
    cgroup = tmp_path / "slice" / "engine.service"
    cgroup.mkdir(parents=True)
    (cgroup / "memory.stat").write_text("anon 1000\nfile 3000\nkernel 5\n")
    (cgroup / "memory.max").write_text("5000\n")
    (cgroup.parent / "memory.events").write_text("low 0\noom 4\noom_kill 2\n")
    (tmp_path / "current").symlink_to(tmp_path / "0.3.36-1a2b3c4d")
    other = Router(router_venv, llama, tmp_path, engine_cgroup=str(cgroup), engine_link=str(tmp_path / "current"))
    other.start()
    try:
        seen = of_server(other)
        assert [seen.sum("copilot_server_engine_memory_bytes", kind=kind) for kind in ("anon", "file")] == [1000, 3000]
        assert seen.sum("copilot_server_engine_memory_limit_bytes") == 5000
        assert seen.sum("copilot_server_oom_kills_total") == 2
        assert seen.sum("copilot_server_engine_info", version="0.3.36") == 1
        check(seen.text)
        (cgroup / "memory.max").write_text("max\n")
        (cgroup / "memory.stat").unlink()
        assert not {"copilot_server_engine_memory_bytes", "copilot_server_engine_memory_limit_bytes"} & of_server(other).names()
    finally:
        other.stop()
    assert "copilot_server_oom_kills_total" not in of_server(router).names(), "where no control group is named"


def test_2000_developers_make_no_more_series_than_one(router: Router) -> None:
    router.admin.request("POST", "/router/drain", {"seconds": 60})
    router.balancer.chat()
    before = of_server(router)
    for number in range(DEVELOPERS):
        who = Caller(router.socket, "balancer").open(
            "POST", "/v1/chat/completions", {"messages": HELLO}, **{"X-Copilot-User": f"dev-{number}"}
        )
        assert who.rest().status == 503
    router.admin.request("POST", "/router/drain", {"seconds": 0})
    after = of_server(router)
    assert after.series() == before.series()
    assert after.sum("copilot_server_requests_total") - before.sum("copilot_server_requests_total") == DEVELOPERS
    assert "dev-" not in after.text and "alice" not in after.text
    assert len(after.all) < 150


def test_an_engine_that_is_away_is_seen(router: Router, llama: EngineOnSocket) -> None:
    llama.kill()
    router.wait_state(health="down")
    before = of_server(router)
    assert before.sum("copilot_server_engine_ready") == 0
    assert not any(name.startswith("llamacpp_") for name in before.names())
    assert router.balancer.chat().status == 503
    grows_by(lambda: of_server(router), before, {("copilot_server_refusals_total", "reason=engine_down"): 1})
    llama.start()
    router.wait_state(health="ready")
    assert of_server(router).sum("copilot_server_engine_ready") == 1


def test_what_a_server_says_is_as_prometheus_wants_it(router: Router) -> None:
    router.developer.chat(stream=True)
    check(of_server(router).text)
    assert samples_of(router.developer.request("GET", "/metrics/server")).names() == of_server(router).names()


def test_a_look_loads_no_model(router_venv: Path, engine: Path, model: Path, tmp_path: Path) -> None:
    models = served(["one", {"id": "two", "context_size": 512}], "one")
    resolved = resolve(models, dict.fromkeys(("one", "two"), str(model)), SETTINGS, {}, {"usable_cores": 1, "usable_cpus": 1}, {})
    several = EngineOnSocket(engine, model, tmp_path, presets=presets(resolved, planned_settings(resolved, None)), loaded=1)
    router = Router(router_venv, several, tmp_path, models={"one": 1, "two": 1})
    try:
        several.start()
        router.start()
        router.wait_state(health="ready")
        assert router.developer.chat(4, model="two").status == 200
        router.wait_state(models={"one": "unloaded", "two": "loaded"})
        for _look in range(3):
            seen = of_server(router)
            assert seen.sum("llamacpp_tokens_predicted_total", model="two") == 4
            assert {labels["model"] for name, labels, _value in seen.all if name.startswith("llamacpp_")} == {"two"}
            assert [seen.sum("copilot_server_model_loaded", model=one) for one in ("one", "two")] == [0, 1]
        assert router.state["models"] == {"one": "unloaded", "two": "loaded"}
        check(seen.text)
    finally:
        router.stop()
        several.kill()


def test_a_balancer_counts_what_it_was_asked(service: Service) -> None:
    before = of_balancer(service)
    said = [service.chat(4, who=ADA).json["timings"] for _whole in range(3)]
    said += [timings(service.begin(5, who=ADA, stream=True)) for _stream in range(2)]
    assert service.chat(messages=TOO_LONG).status == 400
    left = service.begin(3000, stream=True)
    left.first()
    left.leave()
    grows_by(
        lambda: of_balancer(service),
        before,
        {
            ("copilot_balancer_requests_total", "model=tiny", "outcome=answered"): 5,
            ("copilot_balancer_requests_total", "model=tiny", "outcome=invalid"): 1,
            ("copilot_balancer_requests_total", "model=tiny", "outcome=left"): 1,
            ("copilot_balancer_requests_total",): 7,
            ("copilot_balancer_attempts_total",): 7,
            ("copilot_balancer_attempts_total", "outcome=success"): 6,
            ("copilot_balancer_attempts_total", "outcome=abandoned"): 1,
            ("copilot_balancer_choices_total",): 7,
            ("copilot_balancer_retries_total",): 0,
            ("copilot_balancer_first_token_seconds_count",): 3,
            ("copilot_balancer_tokens_total", "kind=computed"): sum(one["prompt_n"] for one in said),
            ("copilot_balancer_tokens_total", "kind=cached"): sum(one["cache_n"] for one in said),
            ("copilot_balancer_tokens_total", "kind=generated"): 3 * 4 + 2 * 5,
            ("copilot_balancer_predictions_total",): 5,
        },
    )


def test_a_balancer_counts_failures_retries_and_503s(service: Service, proxies: list[FaultProxy], members: list[Member]) -> None:
    service.wait_pool(*members, failures=100)
    before = of_balancer(service)
    proxies[0].fault = proxies[1].fault = "reset"
    for _request in range(3):
        assert service.chat().status == 200
    proxies[2].fault = "reset"
    assert service.chat().status == 503
    failed = of_balancer(service).sum("copilot_balancer_attempts_total", outcome="failure") - before.sum(
        "copilot_balancer_attempts_total", outcome="failure"
    )
    grows_by(
        lambda: of_balancer(service),
        before,
        {
            ("copilot_balancer_requests_total", "outcome=answered"): 3,
            ("copilot_balancer_requests_total", "outcome=refused"): 1,
            ("copilot_balancer_refusals_total", "model=tiny", "reason=all_failed"): 1,
            ("copilot_balancer_attempts_total", "outcome=success"): 3,
            ("copilot_balancer_attempts_total", "outcome=failure"): failed,
            # Each that failed was tried elsewhere, but the last one of the request that nobody could answer.
            ("copilot_balancer_retries_total", "model=tiny"): failed - 1,
        },
    )
    assert failed >= 3


def test_what_was_foreseen_of_a_conversation_came_true(service: Service) -> None:
    start = [{"role": "user", "content": "what is asked here, nobody asked before " * 30}]
    before = of_balancer(service)
    answer = service.chat(8, messages=start).json["choices"][0]["message"]
    service.chat(8, messages=[*start, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "and?"}])
    grows_by(
        lambda: of_balancer(service),
        before,
        {
            ("copilot_balancer_predictions_total", "predicted=cold", "found=cold"): 1,
            ("copilot_balancer_predictions_total", "predicted=warm", "found=warm"): 1,
            ("copilot_balancer_choices_total", "reason=cold"): 1,
            ("copilot_balancer_choices_total", "reason=warm"): 1,
        },
    )


def test_backends_are_seen_as_they_are_and_forgotten_when_they_leave(
    service: Service, proxies: list[FaultProxy], members: list[Member]
) -> None:
    service.wait_pool(*members, failures=1)
    assert service.chat().status == 200
    proxies[1].gone = True
    service.wait_state("b", health="down")
    seen = of_balancer(service)
    assert seen.sum("copilot_balancer_backend_health", backend="a", health="ready") == 1
    assert seen.sum("copilot_balancer_backend_health", backend="b", health="down") == 1
    assert seen.sum("copilot_balancer_backend_health", backend="b") == 1, "one word of all"
    assert seen.sum("copilot_balancer_backend_breaker", state="closed") == 3
    assert seen.sum("copilot_balancer_backend_slots") == 3
    service.pool(members[0])
    service.settle("a")
    assert {labels["backend"] for _name, labels, _value in of_balancer(service).all if "backend" in labels} == {"a"}


def test_what_a_balancer_says_is_as_prometheus_wants_it(service: Service) -> None:
    service.chat(stream=True)
    check(of_balancer(service).text)
    assert samples_of(service.request("GET", "/metrics/balancer")).names() == of_balancer(service).names()
    assert service.request("GET", "/metrics/server").status == 404
    assert not {"alice", "127.0.0.1"} & of_balancer(service).label_values()


# All that is counted of a request: a choice, its end, an answer.
TIMES = """
import sys, time
from copilot_router.metrics import BalancerMetrics, ServerMetrics
from copilot_router.pool import Backend, Health, Outcome, Pool, Request
from copilot_router.policy import LeastBusy
from copilot_router.reply import Reply
from copilot_router.tokens import Timings
names = [f"backend-{number}" for number in range(10)]
pool = Pool([Backend(name, "here", 8, frozenset({"tiny"})) for name in names], policy=LeastBusy(), zone="here", zone_policy="any")
for name in names:
    pool.report(name, Health.READY, 0.0)
balancer, server = BalancerMetrics(lambda: pool.snapshot(0.0)), ServerMetrics(["tiny"], dict, dict)
balancer.keep(["tiny"], names)
reply, said = Reply(None, first_sign=1, signs=1), Timings(1000, 24, 10.0, 50, 100.0)
reply.status, reply.ended, reply.said, reply._is_stream, reply._first = 200, True, said, True, time.monotonic()
spent = 0.0
for _request in range(2000):
    lease = pool.acquire(Request("tiny"), 0.0)
    began = time.perf_counter()
    balancer.chosen(lease, again=True)
    balancer.freed(lease, Outcome.SUCCESS, reply, said)
    balancer.ended("tiny", reply)
    server.sent("tiny", 0.1, again=False)
    server.ended("tiny", reply)
    spent += time.perf_counter() - began
    pool.release(lease, Outcome.SUCCESS, 0.0)
print(spent / 2000)
"""


def test_counting_costs_next_to_nothing(router_venv: Path) -> None:
    command = [router_venv / "bin/python", "-c", TIMES]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROUTER)}, capture_output=True, text=True, check=True)
    assert float(done.stdout) < MOST_SECONDS
