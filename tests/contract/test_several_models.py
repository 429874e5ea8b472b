# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A balancer before hosts of which one has several models: a real router with presets as the role writes them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._model.presets import presets
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import planned_settings, resolve, served
from rig import BACKEND_KEY, FaultProxy, Llama, Member, Service

SETTINGS = {
    "context_size": 1024,
    "slots": 1,
    "prompt_cache_mib": 0,
    "cache_type_k": "auto",
    "cache_type_v": "auto",
    "context_checkpoints": 0,
    "ubatch_size": 0,
    "flash_attention": "auto",
    "load_mode": "mmap",
    "threads": 1,
    "threads_batch": 0,
    "batch_size": 2048,
    "slot_prompt_similarity": 0.9,
    "numa": "auto",
    "speculation": "auto",
    "idle_seconds": 0,
}


@pytest.fixture(scope="module")
def several(engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """A host with the models one and two, of which one has room at a time."""
    models = served(["one", {"id": "two", "context_size": 512}], "one")
    cpu = {"usable_cores": 1, "usable_cpus": 1}
    drafts = {"two": {"usual": "ngram-mod,draft-simple", "draft": str(model)}}
    resolved = resolve(models, dict.fromkeys(("one", "two"), str(model)), SETTINGS, {}, cpu, drafts)
    text = presets(resolved, planned_settings(resolved, None))
    server = Llama(engine, model, tmp_path_factory.mktemp("router"), presets=text)
    server.start()
    server.wait_ready()
    yield server
    server.kill()


@pytest.fixture
def fleet(service: Service, several: Llama, proxies: list[FaultProxy]) -> Service:
    """The service with a host of two models, and another of one."""
    hosts = [
        Member("several", several.port, models={"one": "one", "two": "two"}),
        Member("other", proxies[0].port, models={"tiny": "tiny"}),
    ]
    service.wait_pool(*hosts)
    return service


def test_every_model_of_every_host_is_listed(fleet: Service) -> None:
    listed = fleet.request("GET", "/v1/models").json
    assert sorted(one["id"] for one in listed["data"]) == ["one", "tiny", "two"]


def test_each_is_answered_by_a_host_that_has_it(fleet: Service, proxies: list[FaultProxy]) -> None:
    for name in ("one", "two", "tiny", "one"):
        answer = fleet.chat(2, model=name)
        assert (answer.status, answer.json["model"]) == (200, name), answer.text
    assert [body["model"] for body in proxies[0].bodies] == ["tiny"]


def test_a_draft_model_guesses_for_the_model_that_has_it(several: Llama) -> None:
    drafted = {}
    for name in ("one", "two"):
        asked = {"model": name, "prompt": "a b c", "n_predict": 16, "temperature": 0, "ignore_eos": True}
        connection = several.connect()
        connection.request(
            "POST",
            "/completion",
            json.dumps(asked),
            {"Content-Type": "application/json", "Authorization": f"Bearer {BACKEND_KEY}"},
        )
        drafted[name] = json.loads(connection.getresponse().read())["timings"].get("draft_n", 0)
    assert drafted["one"] == 0 < drafted["two"]


def test_who_asks_for_two_at_once_waits_and_fails_not(fleet: Service) -> None:
    """One of them makes room for the other, which is not a failure of the host."""
    answers = {}

    def ask(name: str) -> None:
        answers[name] = fleet.chat(16, model=name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two", "tiny")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(("one", "two", "tiny"), 200)
    fleet.wait_state("several", health="ready", failures=0, in_flight=0)


def test_a_stream_of_a_model_that_has_to_be_loaded(fleet: Service) -> None:
    assert fleet.chat(2, model="one").status == 200
    stream = fleet.chat(4, model="two", stream=True)
    assert stream.status == 200
    assert stream.events[-1] == "[DONE]"


def test_an_unknown_model_is_told_which_there_are(fleet: Service) -> None:
    answer = fleet.chat(model="nonsense")
    assert answer.status == 404
    assert "There is: one, tiny, two." in answer.error["message"]
