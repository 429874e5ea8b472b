# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What copilot_models says, and what that makes of llama-server's settings."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.presets import arguments, loaded_at_start, presets, with_context
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import (
    choice_problems,
    file_paths,
    files,
    model_problems,
    plan_with_context,
    planned_settings,
    resolve,
    served,
    speculation_problems,
    usual_speculations,
    with_drafts,
)

CPU = {"usable_cores": 8, "usable_cpus": 16}
SETTINGS: dict[str, Any] = {
    "context_size": 32768,
    "slots": 2,
    "prompt_cache_mib": "auto",
    "cache_type_k": "auto",
    "cache_type_v": "auto",
    "context_checkpoints": 8,
    "ubatch_size": 0,
    "flash_attention": "auto",
    "load_mode": "auto",
    "threads": 0,
    "threads_batch": 0,
    "batch_size": 2048,
    "slot_prompt_similarity": 0.9,
    "numa": "auto",
    "speculation": "auto",
    "idle_seconds": 900,
}
TUNED = {
    "threads": 6,
    "threads_batch": 16,
    "ubatch_size": 256,
    "flash_attention": "on",
    "cache_type_k": "q8_0",
    "cache_type_v": "q8_0",
    "numa": "distribute",
    "load_mode": "none",
    "speculation": "ngram-simple",
}
SPECULATIONS = {
    "drafted": {"usual": "ngram-mod,draft-simple", "draft": "/models/small.gguf"},
    "predicts": {"usual": "draft-mtp", "draft": ""},
}
USUAL = {"batch_size": 2048, "slot_prompt_similarity": 0.9, "numa": "off"}


def resolved(models: list[Any], tuned: dict[str, Any] | None = None, **settings: Any) -> list[dict[str, Any]]:
    entries = served(models, "big")
    paths = {one["id"]: f"/models/{one['id']}.gguf" for one in entries}
    return resolve(entries, paths, {**SETTINGS, **settings}, tuned or {}, CPU, SPECULATIONS)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        pytest.param([], [("big", False, None, {})], id="none means the one"),
        pytest.param(["a", "b"], [("a", False, None, {}), ("b", False, None, {})], id="ids"),
        pytest.param(
            [{"id": "a", "pinned": True, "slots": 1}, {"id": "b", "idle_seconds": 5}],
            [("a", True, None, {"slots": 1}), ("b", False, 5, {})],
            id="mappings",
        ),
    ],
)
def test_the_models_of_a_host(models: list[Any], expected: list[Any]) -> None:
    assert [(one["id"], one["pinned"], one["idle_seconds"], one["settings"]) for one in served(models, "big")] == expected


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        pytest.param("a", "copilot_models is a text: give a list", id="no list"),
        pytest.param([3], "copilot_models[0] has no id", id="a number"),
        pytest.param([{"slots": 1}], "copilot_models[0] has no id", id="no id"),
        pytest.param(["a b"], "copilot_models[0].id is 'a b': use letters", id="a space"),
        pytest.param(["a]"], "copilot_models[0].id is 'a]'", id="what ends a section"),
        pytest.param(["a", {"id": "a"}], "copilot_models[1].id is 'a', which an earlier entry has too", id="twice"),
        pytest.param([{"id": "a", "ctx": 1}], "(a) has unknown keys (ctx): known are id, context_size", id="a misspelt key"),
        pytest.param([{"id": "a", "context_size": 10}], "(a).context_size is 10: give a whole number from 256", id="too short"),
        pytest.param([{"id": "a", "slots": "2"}], "(a).slots is '2'", id="a number in quotes"),
        pytest.param([{"id": "a", "slots": True}], "(a).slots is True", id="a truth as number"),
        pytest.param([{"id": "a", "idle_seconds": "auto"}], "(a).idle_seconds is 'auto'", id="auto where it makes no sense"),
        pytest.param([{"id": "a", "cache_type_k": "q9"}], "(a).cache_type_k is 'q9': choose one of f32", id="no such type"),
        pytest.param([{"id": "a", "pinned": "yes"}], "(a).pinned is 'yes': give true or false", id="a word as truth"),
        pytest.param([{"id": "a", "pinned": True, "idle_seconds": 5}], "is pinned, so that it is never unloaded", id="both"),
    ],
)
def test_what_is_wrong_is_told(models: Any, problem: str) -> None:
    problems = model_problems(models)
    assert len(problems) == 1
    assert problem in problems[0]
    with pytest.raises(CopilotError, match="copilot_models"):
        served(models, "big")


def test_auto_is_right_where_it_makes_sense() -> None:
    assert model_problems([{"id": "a", "context_size": "auto", "slots": "auto", "prompt_cache_mib": "auto"}]) == []


@pytest.mark.parametrize(
    ("models", "model", "pool", "problem"),
    [
        pytest.param(["a", "b"], "c", False, "copilot_model is 'c', which copilot_models (a, b) has not", id="another model"),
        pytest.param([{"id": "a", "slots": "auto"}], "a", True, "(a).slots is 'auto', and there are balancers", id="auto slots"),
        pytest.param([{"id": "a", "slots": "auto"}], "a", False, "", id="auto slots without balancers"),
        pytest.param([], "c", True, "", id="no list"),
        pytest.param(["a", "b"], "b", True, "", id="one of them"),
    ],
)
def test_the_list_and_the_other_settings(models: list[Any], model: str, pool: bool, problem: str) -> None:
    problems = choice_problems(models, model, pool)
    assert (problem in problems[0]) if problem else not problems


def test_where_files_are() -> None:
    catalogue = {
        "hub": {"repo": "a/b", "file": "sub/hub.gguf"},
        "url": {"url": "https://example.com/x/url.gguf?download=1"},
        "own": {"src": "/home/me/own.gguf"},
    }
    assert file_paths(["hub", "url", "own", "unknown"], catalogue, "/m") == {
        "hub": "/m/hub.gguf",
        "url": "/m/url.gguf",
        "own": "/m/own.gguf",
        "unknown": "/m/unknown",
    }


def test_two_models_cannot_have_one_file() -> None:
    catalogue = {"a": {"file": "same.gguf"}, "b": {"src": "/other/same.gguf"}}
    with pytest.raises(CopilotError, match=r"the models a and b have files of the same name \(same\.gguf\)"):
        file_paths(["a", "b"], catalogue, "/m")


def test_without_anything_the_usual_holds() -> None:
    (one,) = resolved([])
    assert one["rest"] == {**USUAL, "threads": 8, "threads_batch": 8}
    assert one["plan"]["settings"] == {
        "slots": "2",
        "context_size": "32768",
        "prompt_cache_mib": "auto",
        "cache_type_k": "f16",
        "cache_type_v": "f16",
        "context_checkpoints": 8,
        "ubatch": 512,
        "flash_attention": "auto",
        "load_mode": "mmap",
        "speculation": "ngram-mod",
    }


def test_what_was_measured_comes_before_the_usual() -> None:
    one, other = resolved(["a", "b"], {"a": TUNED})
    assert one["rest"] == {**USUAL, "threads": 6, "threads_batch": 16, "numa": "distribute"}
    memory = one["plan"]["settings"]
    assert (memory["ubatch"], memory["flash_attention"], memory["cache_type_k"]) == (256, "on", "q8_0")
    assert (memory["speculation"], other["plan"]["settings"]["speculation"]) == ("ngram-simple", "ngram-mod")
    assert (memory["load_mode"], other["plan"]["settings"]["load_mode"]) == ("none", "mmap")
    assert other["rest"]["threads"] == 8


def test_what_is_set_comes_before_what_was_measured() -> None:
    (one,) = resolved(
        [{"id": "a", "cache_type_k": "bf16"}],
        {"a": TUNED},
        threads=4,
        ubatch_size=128,
        flash_attention="off",
        cache_type_k="q4_0",
        numa="off",
        speculation="off",
    )
    assert one["rest"] == {**USUAL, "threads": 4, "threads_batch": 4}
    memory = one["plan"]["settings"]
    assert memory["speculation"] == "off"
    # Without flash attention the values cannot be quantised, whatever was measured.
    assert (memory["ubatch"], memory["flash_attention"], memory["cache_type_k"], memory["cache_type_v"]) == (
        128,
        "off",
        "bf16",
        "f16",
    )


@pytest.mark.parametrize(
    ("model", "measured", "wanted", "expected", "draft"),
    [
        pytest.param("plain", None, "auto", "ngram-mod", "", id="neither"),
        pytest.param("drafted", None, "auto", "ngram-mod,draft-simple", "/models/small.gguf", id="a draft model"),
        pytest.param("predicts", None, "auto", "draft-mtp", "", id="of the catalogue"),
        pytest.param("drafted", "off", "auto", "off", "", id="measured to be no use"),
        pytest.param("drafted", "draft-simple", "auto", "draft-simple", "/models/small.gguf", id="measured"),
        pytest.param("plain", "draft-simple", "auto", "ngram-mod", "", id="measured with a draft model that went"),
        pytest.param("drafted", "draft-simple", "ngram-simple", "ngram-simple", "", id="set"),
    ],
)
def test_how_a_model_guesses(model: str, measured: str | None, wanted: str, expected: str, draft: str) -> None:
    (one,) = resolved([model], {model: {"speculation": measured}} if measured else {}, speculation=wanted)
    assert (one["plan"]["settings"]["speculation"], one["plan"]["draft_path"]) == (expected, draft)
    used = arguments(one, planned_settings([one], None))
    assert [value for name, value in used if name == "--spec-type"] == [expected] * (expected != "off")
    assert [value for name, value in used if name == "--model-draft"] == [draft] * bool(draft)


def test_draft_models_belong_to_models() -> None:
    catalogue = {"a": {"draft_model": "s", "src": "/a.gguf"}, "b": {"draft_model": "s"}, "s": {"src": "/s.gguf"}}
    assert with_drafts(["a", "b", "unknown"], catalogue) == ["a", "b", "unknown", "s"]
    assert with_drafts(["s", "a"], catalogue) == ["s", "a"]
    paths = file_paths(with_drafts(["a"], catalogue), catalogue, "/m")
    assert usual_speculations(["a", "s"], catalogue, paths) == {
        "a": {"usual": "ngram-mod,draft-simple", "draft": "/m/s.gguf"},
        "s": {"usual": "ngram-mod", "draft": ""},
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("auto", ""),
        ("off", ""),
        ("ngram-mod", ""),
        ("ngram-mod,draft-simple", ""),
        (False, 'x is false, which is how YAML reads off: write x: "off", with quotes.'),
        ("ngram", "x is 'ngram': choose one of auto, off, ngram-mod"),
        ("ngram-mod, draft-mtp", "with commas and without spaces"),
        ("ngram-mod,off", "choose one of"),
        ("ngram-mod,ngram-mod", "name each method once"),
        ("draft-mtp,draft-simple", "exclude each other"),
    ],
)
def test_methods_of_speculation(value: Any, problem: str) -> None:
    problems = speculation_problems("x", value)
    assert problem in problems[0] if problem else not problems


def test_there_are_never_more_threads_than_processors() -> None:
    (one,) = resolved([], threads=99)
    assert one["rest"]["threads"] == 16


def test_when_models_are_unloaded() -> None:
    models = resolved(["a", {"id": "b", "idle_seconds": 0}, {"id": "c", "idle_seconds": 5}, {"id": "d", "pinned": True}])
    assert [one["idle_seconds"] for one in models] == [900, 0, 5, 0]


def test_the_plan_says_the_numbers() -> None:
    models = resolved(["a", "b"])
    plan = {"models": {name: {"settings": {"slots": 1}} for name in "ab"}}
    assert planned_settings(models, plan) == {"a": {"slots": 1}, "b": {"slots": 1}}
    assert planned_settings(models[:1], {"settings": {"slots": 3}}) == {"a": {"slots": 3}}
    assert planned_settings(models, None)["b"]["slots"] == "2"


def test_the_arguments_of_one_model() -> None:
    (one,) = resolved([], {"big": TUNED})
    found = dict(arguments(one, planned_settings([one], None)))
    assert found["--model"] == "/models/big.gguf"
    assert (found["--ctx-size"], found["--parallel"]) == ("65536", "2")
    assert (found["--cache-ram"], found["--numa"]) == ("0", "distribute")


PRESETS = """\
version = 1

[a]
model = /models/a.gguf
ctx-size = 65536
parallel = 2
threads = 8
threads-batch = 8
batch-size = 2048
ubatch-size = 512
cache-type-k = f16
cache-type-v = f16
flash-attn = auto
cache-ram = 64
ctx-checkpoints = 8
slot-prompt-similarity = 0.9
load-mode = mmap
spec-type = ngram-mod
sleep-idle-seconds = 900
stop-timeout = 5
load-on-startup = true

[p]
model = /models/p.gguf
ctx-size = 256
parallel = 1
threads = 8
threads-batch = 8
batch-size = 2048
ubatch-size = 512
cache-type-k = f16
cache-type-v = f16
flash-attn = auto
cache-ram = 64
ctx-checkpoints = 8
slot-prompt-similarity = 0.9
load-mode = mmap
spec-type = ngram-mod
stop-timeout = 5
tags = pinned
load-on-startup = true
"""


def test_the_presets_of_the_router() -> None:
    models = resolved(["a", {"id": "p", "pinned": True, "context_size": 256, "slots": 1}], prompt_cache_mib=64)
    assert presets(models, planned_settings(models, None)) == PRESETS


def test_pinned_models_and_the_first_are_loaded_at_the_start() -> None:
    assert loaded_at_start(resolved(["a", "b", {"id": "c", "pinned": True}])) == ["a", "c"]


def test_another_context_of_one_model() -> None:
    changed, slots = with_context(PRESETS, "a", 1024)
    assert slots == 2
    assert changed == PRESETS.replace("ctx-size = 65536", "ctx-size = 2048")
    with pytest.raises(CopilotError, match="the presets have no model 'b'"):
        with_context(PRESETS, "b", 1024)


def test_a_plan_with_another_context() -> None:
    (one,) = resolved([])
    assert plan_with_context(one["plan"], {"big": 4096})["settings"]["context_size"] == "4096"
    assert plan_with_context(one["plan"], {"other": 4096}) == one["plan"]


def test_which_file_is_of_which_model() -> None:
    found = [{"path": "/m/b.gguf", "size": 1500000000}, {"path": "/m/a.gguf", "size": 1}]
    assert files(found, {"a": "/m/a.gguf", "c": "/m/c.gguf"}) == [
        "  0.00 GB  /m/a.gguf  a",
        "  1.50 GB  /m/b.gguf  (no model of this host)",
        "missing    /m/c.gguf  c",
    ]
