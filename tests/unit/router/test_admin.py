# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-swap's API for administrators."""

from __future__ import annotations

import pytest
from copilot_router.admin import Told, Verb, Wish, merged, path_of, running, to_unload, wish_at

STATE = {
    "models": {"one": "loaded", "two": "unloaded", "three": "loading", "pinned": "sleeping"},
    "busy": {"one": 1, "two": 0, "three": 0, "pinned": 0},
    "queued": {"one": 2, "two": 0, "three": 1, "pinned": 0},
}


WISHES = {
    "/running": Wish(Verb.RUNNING),
    "/api/models/unload": Wish(Verb.UNLOAD),
    "/api/models/unload/qwen": Wish(Verb.UNLOAD, "qwen"),
    "/upstream/qwen/health": Wish(Verb.WARM, "qwen"),
}


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        *WISHES.items(),
        ("/api/models/unload/a/b", Wish(Verb.UNLOAD, "a/b")),
        ("/upstream/a/b/health", Wish(Verb.WARM, "a/b")),
        ("/api/models/unload/", None),
        ("/api/models/unloaded", None),
        ("/upstream/a", None),
        ("/upstream//health", None),
        ("/upstream/health", None),
        ("/health", None),
    ],
)
def test_what_is_asked_for(path: str, wish: Wish | None) -> None:
    assert wish_at(path) == wish


def test_where_it_is_asked_for() -> None:
    assert {path_of(wish): wish for wish in WISHES.values()} == WISHES
    assert path_of(Wish(Verb.WARM, "a/b c")) == "/upstream/a%2Fb%20c/health"


def test_what_runs() -> None:
    found = {one["id"]: (one["state"], one["requests"], one["waiting"]) for one in running(STATE)["running"]}
    assert found == {"one": ("ready", 1, 2), "three": ("starting", 0, 1), "pinned": ("ready", 0, 0)}


@pytest.mark.parametrize(
    ("model", "found"), [(None, ["one", "three"]), ("one", ["one"]), ("two", [])], ids=["all", "one", "not loaded"]
)
def test_what_is_unloaded(model: str | None, found: list[str]) -> None:
    assert to_unload(Wish(Verb.UNLOAD, model), STATE, ["pinned"]) == found


@pytest.mark.parametrize(
    ("models", "model", "words"),
    [(STATE["models"], "pinned", "pinned is pinned"), ({"one": "loaded"}, None, "one model")],
    ids=["pinned", "the only one"],
)
def test_what_stays_loaded(models: dict[str, str], model: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        to_unload(Wish(Verb.UNLOAD, model), {"models": models}, ["pinned"])


# Of several servers

NAMES = {"there": "qwen"}
ERROR = {"message": "This host has one model, which stays loaded.", "code": "stays_loaded"}
STAYS = Told("stays", NAMES, 409, ERROR, ERROR["message"])
AWAY = Told("away", NAMES, 0, words="it does not answer")


def runs(server: str, state: str = "ready", requests: int = 1, waiting: int = 0) -> Told:
    entry = {"id": "there", "model": "there", "state": state, "requests": requests, "waiting": waiting}
    return Told(server, NAMES, 200, {"running": [entry]})


def test_what_runs_anywhere() -> None:
    status, content = merged(Wish(Verb.RUNNING), [runs("a", requests=2), AWAY, runs("b", "starting", 0, 3), STAYS])
    assert (status, content["away"]) == (200, {"away": "it does not answer", "stays": ERROR["message"]})
    (one,) = content["running"]
    assert (one["id"], one["model"], one["state"], one["requests"], one["waiting"]) == ("qwen", "qwen", "ready", 2, 3)
    assert one["servers"] == {"a": "ready", "b": "starting"}


def test_a_model_that_is_starting_on_one_is_ready_once_it_is_on_another() -> None:
    for told in ([runs("a", "starting"), runs("b")], [runs("b"), runs("a", "starting")]):
        assert merged(Wish(Verb.RUNNING), told)[1]["running"][0]["state"] == "ready"
    assert merged(Wish(Verb.RUNNING), [runs("a", "starting")])[1]["running"][0]["state"] == "starting"
    assert merged(Wish(Verb.RUNNING), []) == (200, {"running": [], "away": {}})


@pytest.mark.parametrize(("verb", "head"), [(Verb.UNLOAD, {"msg": "ok"}), (Verb.WARM, {"status": "ok"})])
def test_who_did_it_and_who_did_not(verb: Verb, head: dict[str, str]) -> None:
    done = Told("done", NAMES, 200, head)
    servers = {"stays": ERROR["message"], "done": "ok"}
    assert merged(Wish(verb, "qwen"), [STAYS, done, AWAY]) == (200, {**head, "servers": servers, "away": {"away": AWAY.words}})
    assert merged(Wish(verb, "qwen"), [AWAY, STAYS]) == (409, {"error": ERROR})
    assert merged(Wish(verb, "qwen"), [AWAY]) == (503, {})
