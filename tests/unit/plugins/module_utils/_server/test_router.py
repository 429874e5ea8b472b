# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The models of a router."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server.router import (
    Model,
    Router,
    client,
    differences,
    interrupts,
    table,
    to_change,
)
from ansible_collections.slm.copilot.tests.unit.fixtures.router import LlamaServer


@pytest.fixture
def router(server: LlamaServer) -> Router:
    return Router(client(server.path), 5, sleep=lambda _seconds: None)


def test_what_is_known_of_a_model(router: Router) -> None:
    one, two = router.models()
    assert two.as_dict() == {
        "name": "two",
        "status": "loaded",
        "failed": False,
        "pinned": True,
        "busy": 3,
        "context_size": 256,
        "slots": 2,
        "idle_seconds": 8,
        "path": "/m/two.gguf",
    }
    assert (one.status, one.busy, one.context_size) == ("unloaded", 0, 1024)


def test_loading_and_unloading_wait_until_it_is_so(router: Router) -> None:
    router.load("one")
    assert router.model("one").status == "loaded"
    router.unload("one")
    assert router.model("one").status == "unloaded"


def test_a_model_that_somebody_waits_for_is_loaded_again_at_once(router: Router, server: LlamaServer) -> None:
    server.coming = {"one": "loaded"}
    router.models()
    fetch = router._fetch

    def answer(method: str, path: str, body: Any = None) -> tuple[int, str]:
        if path == "/models/unload":
            server.port += 1  # gone, and there again, before anybody looks
            return 200, "{}"
        return fetch(method, path, body)

    router._fetch = answer  # type: ignore[method-assign]
    router.unload("one")
    assert router.model("one").status == "loaded"


def test_no_room_is_told(router: Router, server: LlamaServer) -> None:
    server.fails = True
    with pytest.raises(CopilotError, match="one cannot be loaded: llama-server answered 500: model limit reached"):
        router.load("one")


def test_a_process_that_ends_is_told(router: Router, server: LlamaServer) -> None:
    server.fails = True
    with pytest.raises(CopilotError, match="one was not loaded: its process ended"):
        router._wait("one", lambda one: one.status == "loaded", "loaded")


def test_what_takes_too_long_is_told(router: Router) -> None:
    with pytest.raises(CopilotError, match="one is unloaded and was not loaded within 5 seconds"):
        router._wait("one", lambda one: one.status == "loaded", "loaded")


def test_an_unknown_model_is_told_which_there_are(router: Router) -> None:
    with pytest.raises(CopilotError, match=r"no model 'three'\. There are: one, two\."):
        router.model("three")


def test_a_server_of_one_model_is_no_router(router: Router, server: LlamaServer) -> None:
    server.plain = True
    with pytest.raises(CopilotError, match="serves a single model .*list several in copilot_models"):
        router.models()
    [only] = router.look()
    assert only == Model("only", "loaded", False, False, 2, 1024, 4, 0, "/m/only.gguf", "")
    assert interrupts([only], []) == {"only": 2}


def test_a_look_sees_what_a_router_has(router: Router) -> None:
    assert router.look() == router.models()


def test_another_program_is_told(router: Router, server: LlamaServer) -> None:
    server.models = lambda: {"data": [{"id": "only"}]}  # type: ignore[method-assign]
    with pytest.raises(CopilotError, match="does not come from a supported llama-server"):
        router.look()


def test_another_answer_than_the_models_is_told(router: Router, server: LlamaServer) -> None:
    server.loading = True
    with pytest.raises(CopilotError, match="answered 503 .*Loading model"):
        router.models()


def test_nobody_there() -> None:
    with pytest.raises(CopilotError, match=r"does not answer at /nowhere/s\.sock .*systemctl status slm-copilot"):
        Router(client("/nowhere/s.sock"), 5).models()


def test_what_a_reload_changed(router: Router) -> None:
    assert differences(router.models(), router.models(reload=True)) == ["one"]
    assert differences(router.models(), []) == ["one", "two"]


def model(name: str, status: str, *, pinned: bool = False, busy: int = 0) -> Model:
    return Model(name, status, False, pinned, busy, 1024, 1, 0, f"/m/{name}.gguf", "")


MODELS = [model("a", "loaded", busy=2), model("b", "unloaded"), model("c", "sleeping"), model("p", "loaded", pinned=True)]


@pytest.mark.parametrize(
    ("names", "state", "expected"),
    [
        pytest.param(["b"], "loaded", ["b"], id="load one"),
        pytest.param(["a"], "loaded", [], id="one that is loaded"),
        pytest.param(["c"], "loaded", [], id="one that sleeps"),
        pytest.param([], "unloaded", ["a", "c"], id="unload all but the pinned"),
        pytest.param(["b"], "unloaded", [], id="one that is unloaded"),
    ],
)
def test_what_has_to_be_done(names: list[str], state: str, expected: list[str]) -> None:
    assert [one.name for one in to_change(MODELS, names, state)] == expected


@pytest.mark.parametrize(
    ("names", "state", "message"),
    [
        pytest.param(["p"], "unloaded", "p is pinned, and would be loaded again at once", id="pinned"),
        pytest.param(["x"], "loaded", "no model 'x'. There are: a, b, c, p.", id="unknown"),
    ],
)
def test_what_cannot_be_done(names: list[str], state: str, message: str) -> None:
    with pytest.raises(CopilotError) as error:
        to_change(MODELS, names, state)
    assert message in str(error.value)


def test_what_would_be_cut() -> None:
    assert interrupts(MODELS, []) == {"a": 2}
    assert interrupts(MODELS, ["b"]) == {}


def test_the_table() -> None:
    results = {"h1": {"models": [one.as_dict() for one in MODELS]}, "h2": {"msg": "it does not answer"}}
    lines = table(results).splitlines()
    assert lines[0].split() == ["host", "model", "status", "requests", "context", "slots", "idle", "s", "file"]
    assert lines[4].startswith("h1    p      loaded, pinned")
    assert "never" in lines[1]
    assert lines[5].endswith("it does not answer")
