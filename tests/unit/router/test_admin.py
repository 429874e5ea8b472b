# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-swap's API for administrators."""

from __future__ import annotations

import pytest
from copilot_router.admin import Verb, Wish, running, to_unload, wish_of

STATE = {
    "models": {"one": "loaded", "two": "unloaded", "three": "loading", "pinned": "sleeping"},
    "busy": {"one": 1, "two": 0, "three": 0, "pinned": 0},
    "queued": {"one": 2, "two": 0, "three": 1, "pinned": 0},
}


@pytest.mark.parametrize(
    ("method", "path", "wish"),
    [
        ("GET", "/running", Wish(Verb.RUNNING)),
        ("POST", "/api/models/unload", Wish(Verb.UNLOAD)),
        ("POST", "/api/models/unload/a/b", Wish(Verb.UNLOAD, "a/b")),
        ("GET", "/upstream/a/b/health", Wish(Verb.WARM, "a/b")),
        ("POST", "/running", None),
        ("GET", "/api/models/unload", None),
        ("POST", "/api/models/unload/", None),
        ("POST", "/api/models/unloaded", None),
        ("GET", "/upstream/a", None),
        ("GET", "/upstream//health", None),
        ("GET", "/upstream/health", None),
        ("GET", "/health", None),
    ],
)
def test_what_is_asked_for(method: str, path: str, wish: Wish | None) -> None:
    assert wish_of(method, path) == wish


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
