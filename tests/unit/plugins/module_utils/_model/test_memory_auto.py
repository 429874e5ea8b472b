# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan for published models, what ``auto`` finds, and several models on one host."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model import settings as _models
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as _memory
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.layers import PROGRAM_BYTES
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.plan import MOST_SLOTS, PROMPT_CACHE_STEP
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import (
    AUTO_SETTINGS,
    LEAST_CONTEXT,
    Host,
    Settings,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.several import ROUTER_MIB, plan_models
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import measured, models, published

MIB, KIB = 1 << 20, 1 << 10
ROLES = Path(__file__).resolve().parents[5] / "roles"
DOCS = Path(__file__).resolve().parents[5] / "docs"
VM = 32000  # MiB that the kernel of a VM with 32 GB says it has; 32 GiB are some hundred more
NO_CACHE = {"prompt_cache_mib": 0}
ALL_AUTO = dict.fromkeys(AUTO_SETTINGS, "auto")


def role_defaults():
    """What role llama_server plans with when nothing is set and nothing was measured."""
    copilot = yaml.safe_load((ROLES / "copilot/defaults/main.yml").read_text())
    server = yaml.safe_load((ROLES / "llama_server/defaults/main.yml").read_text())
    settings = {name.removeprefix("llama_server_"): value for name, value in server.items()}
    settings.update(
        context_size=copilot["copilot_context_size"],
        slots=copilot["copilot_slots"],
        threads=copilot["copilot_threads"],
        prompt_cache_mib=server["llama_server_cache_ram_mib"],
        speculation=copilot["copilot_speculation"],
    )
    (one,) = _models.resolve(_models.served([], "m"), {"m": "m.gguf"}, settings, {}, {"usable_cores": 16, "usable_cpus": 16}, {})
    plan = one["plan"]["settings"]
    numbers = {name: int(plan[name]) if plan[name] != "auto" else "auto" for name in AUTO_SETTINGS}
    return {**plan, **numbers}  # the reserve of a host that is a server only is the default of plan: test_memory_shares.py


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("headers")
    known = {**published.CATALOGUE, **published.HYBRIDS}
    return {name: _gguf.check(str(models.write(folder / f"{name}.gguf", *known[name]))) for name in known}


# MiB for 2 slots of 32768 tokens at f16, from the published sizes by hand:
# layers that attend, times 2, KV heads, head size, 2 bytes, and tokens.
@pytest.mark.parametrize(
    ("name", "kib_per_token", "kv_cache", "recurrent_state"),
    [
        pytest.param("devstral-small-2", 160, 10240, 0, id="devstral"),
        pytest.param("qwen3-coder-30b-a3b", 96, 6144, 0, id="qwen3_mixture"),
        # 12 layers with all tokens, 12 with the window of 128 and a batch of 512, padded to 768.
        pytest.param("gpt-oss-20b", 48, 2 * (12 * 2 * 32768 + 12 * 2 * 768) / 1024, 0, id="gpt_oss_window"),
        pytest.param("codestral-22b", 224, 14336, 0, id="codestral"),
        pytest.param("mistral-nemo-12b", 160, 10240, 0, id="nemo"),
        pytest.param("codestral-mamba-7b", 0, 0, 2 * 4 * 64 * (3 * (8192 + 2 * 8 * 128) + 8192 * 128) / MIB, id="mamba"),
        pytest.param("mistral-7b", 128, 8192, 0, id="mistral"),
        pytest.param("qwen2.5-coder-3b", 36, 2304, 0, id="qwen_3b"),
        pytest.param("qwen2.5-coder-1.5b", 28, 1792, 0, id="qwen_1_5b"),
        # 12 attention layers of 48; 36 with a state of 4096 x 128 and a convolution of 3 x (4096 + 2 x 16 x 128).
        pytest.param("qwen3-next-80b", 24, 1536, 2 * 4 * 36 * (4096 * 128 + 3 * 8192) / MIB, id="qwen3_next_hybrid"),
        pytest.param("granite-4-h-micro", 8, 512, 2 * 4 * 36 * (4096 * 128 + 3 * (4096 + 256)) / MIB, id="granite_hybrid"),
        pytest.param("lfm2-1.2b", 12, 768, 2 * 4 * 10 * 2 * 2048 / MIB, id="lfm2_hybrid"),
    ],
)
def test_published_models(headers, name, kib_per_token, kv_cache, recurrent_state):
    plan = _memory.plan(headers[name], slots=2, context_size=32768, host_memory_mib=VM)
    assert plan["kv_bytes_per_token"] == kib_per_token * KIB
    assert plan["bytes"]["kv_cache"] == kv_cache * MIB
    assert plan["bytes"]["recurrent_state"] == pytest.approx(recurrent_state * MIB)
    assert plan["bytes"]["weights"] == headers[name]["tensor_bytes"]


def test_a_24b_model_with_default_settings_on_a_32_gb_host(headers):
    """Row 4: weights, two slots of 32768 tokens, and a prompt cache that holds a whole conversation."""
    plan = _memory.plan(headers["devstral-small-2"], host_memory_mib=VM, **role_defaults())
    assert plan["fits"]
    assert (plan["settings"]["slots"], plan["settings"]["context_size"]) == (2, 32768)
    assert plan["mib"]["kv_cache"] == 10240
    assert plan["mib"]["prompt_cache"] >= 5120
    assert plan["mib"]["total"] <= VM


@pytest.mark.parametrize("name", published.CATALOGUE)
def test_every_model_of_the_catalogue_fits_on_a_32_gb_host_by_itself(headers, name):
    plan = _memory.plan(headers[name], host_memory_mib=VM, reserve_mib=2048, context_checkpoints=8, **ALL_AUTO)
    assert plan["fits"]
    assert plan["settings"]["context_size"] >= 16384


@pytest.mark.parametrize("name", published.CATALOGUE)
@pytest.mark.parametrize(
    "memory", [pytest.param(20000, id="20_gb"), pytest.param(32000, id="32_gb"), pytest.param(64000, id="64_gb")]
)
def test_what_auto_finds_fits_and_the_next_larger_does_not(headers, name, memory):
    gguf = headers[name]
    plan = _memory.plan(gguf, host_memory_mib=memory, **ALL_AUTO)
    if not plan["fits"]:
        least = {"context_size": LEAST_CONTEXT, "slots": 1, "prompt_cache_mib": 0}
        assert {key: plan["settings"][key] for key in least} == least
        return
    found = plan["settings"]
    assert found["context_size"] <= gguf["context_length"]
    assert found["slots"] <= MOST_SLOTS
    cache = found["prompt_cache_mib"]
    assert not fits(gguf, memory, found, prompt_cache_mib=cache + PROMPT_CACHE_STEP)


def fits(gguf, memory, settings, **changes):
    return _memory.plan(gguf, host_memory_mib=memory, **{**settings, **changes})["fits"]


@pytest.mark.parametrize(
    ("name", "memory", "settings", "expected"),
    [
        pytest.param("devstral-small-2", 32000, ALL_AUTO, (32768, 2, 5632), id="all"),
        pytest.param("devstral-small-2", 32000, {"slots": 2, "prompt_cache_mib": "auto"}, (32768, 2, 5632), id="prompt_cache"),
        pytest.param("devstral-small-2", 32000, {"slots": "auto", "prompt_cache_mib": 2048}, (32768, 2, 2048), id="slots"),
        pytest.param(
            "devstral-small-2",
            32000,
            {"slots": "auto", "prompt_cache_mib": 0, "context_size": 8192},
            (8192, 4, 0),
            id="slots_end",
        ),
        pytest.param("devstral-small-2", 32000, {"context_size": "auto", "prompt_cache_mib": 0}, (100352, 1, 0), id="context"),
        pytest.param("devstral-small-2", 24000, ALL_AUTO, (16384, 2, 2560), id="smaller_host_all"),
        pytest.param("devstral-small-2", 17500, ALL_AUTO, (4096, 2, 0), id="two_slots_without_prompt_cache"),
        pytest.param("devstral-small-2", 16800, ALL_AUTO, (4096, 1, 0), id="one_slot"),
        pytest.param("devstral-small-2", 16000, ALL_AUTO, (4096, 1, 0), id="least_where_nothing_fits"),
        pytest.param("qwen2.5-coder-1.5b", 32000, ALL_AUTO, (32768, 4, 24576), id="all_that_is_left_is_cache"),
    ],
)
def test_what_auto_finds(headers, name, memory, settings, expected):
    found = _memory.plan(headers[name], host_memory_mib=memory, **settings)["settings"]
    assert (found["context_size"], found["slots"], found["prompt_cache_mib"]) == expected


def test_auto_where_the_file_does_not_say_how_long_its_context_is(headers):
    gguf = {**headers["devstral-small-2"], "context_length": 0}
    assert _memory.plan(gguf, host_memory_mib=VM, context_size="auto")["settings"]["context_size"] == LEAST_CONTEXT


def test_auto_of_a_model_with_a_short_context(headers):
    gguf = {**headers["mistral-7b"], "context_length": 2048}
    assert _memory.plan(gguf, host_memory_mib=VM, context_size="auto")["settings"]["context_size"] == 2048


def test_no_context_is_longer_than_the_model_was_trained_for(headers):
    gguf = headers["qwen2.5-coder-1.5b"]
    asked = {"host_memory_mib": VM, "slots": 1, "prompt_cache_mib": 0}
    plan = _memory.plan(gguf, context_size=40960, **asked)
    assert plan["settings"]["context_size"] == gguf["context_length"] == 32768
    assert plan["mib"] == _memory.plan(gguf, context_size=32768, **asked)["mib"]
    assert plan["warnings"] == [
        "A context of 40960 tokens was asked for, but the model was trained for 32768: each conversation has 32768. "
        "Lower copilot_context_size, or take another model."
    ]
    models = [
        {"name": name, "gguf": gguf, "context_size": size} for name, size in (("long", 40960), ("short", 8192), ("auto", "auto"))
    ]
    several = plan_models(models, host_memory_mib=VM)
    assert [one["settings"]["context_size"] for one in several["models"].values()] == [32768, 8192, 32768]
    [warning] = several["warnings"]
    assert "but long was trained for 32768" in warning


def test_of_several_models_no_slots_are_saved(headers):
    names = list(headers)[:2]
    plan = plan_models([{"name": one, "gguf": headers[one], "save_slots": True} for one in names], host_memory_mib=512000)
    assert not any(one["mib"]["saved_slot"] or one["settings"]["save_slots"] for one in plan["models"].values())
    [warning] = [one for one in plan["warnings"] if "save_slots" in one]
    assert "has no effect, since llama-server serves several models" in warning


def test_the_alternatives_are_given_as_settings_as_well(headers):
    plan = _memory.plan(headers["devstral-small-2"], slots=4, prompt_cache_mib=2048, host_memory_mib=VM)
    assert {"slots": 2} in plan["alternatives"]
    assert {"cache_type_k": "q8_0", "cache_type_v": "q8_0"} in plan["alternatives"]
    for change in plan["alternatives"]:
        assert fits(headers["devstral-small-2"], VM, {"slots": 4, "prompt_cache_mib": 2048, **change})
    assert _memory.plan(headers["devstral-small-2"], host_memory_mib=64000)["alternatives"] == []


def test_a_quantised_cache_is_not_proposed_without_flash_attention(headers):
    plan = _memory.plan(headers["devstral-small-2"], slots=4, flash_attention="off", prompt_cache_mib=0, host_memory_mib=VM)
    assert not plan["fits"]
    assert "q8_0" not in plan["explanation"]


SSM = {"inner_size": 8192}


# Architectures that say in their own ways which layers keep what.
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"shared_kv_layers": 20}, 80 * KIB, id="last_layers_use_earlier_ones"),
        pytest.param({"architecture": "gemma3n"}, 80 * KIB, id="gemma3n_keeps_20_layers"),
        pytest.param({"latent_attention": True, "kv_heads": 1, "key_length": 576}, 40 * 576 * 2, id="latent_attention"),
        pytest.param({"ssm": SSM, "architecture": "falcon-h1"}, 160 * KIB, id="falcon_attends_and_recurs"),
        pytest.param({"ssm": SSM, "architecture": "qwen3next"}, 40 * KIB, id="every_fourth_layer"),
        pytest.param(
            {"ssm": SSM, "architecture": "qwen35", "full_attention_interval": 8},
            20 * KIB,
            id="every_eighth_layer",
        ),
        pytest.param(
            {"ssm": SSM, "architecture": "qwen35moe", "recurrent_layers": [True] * 30 + [False] * 10},
            40 * KIB,
            id="layers_by_name",
        ),
        pytest.param({"ssm": SSM, "architecture": "qwen3next", "draft_layers": 1}, 36 * KIB, id="draft_layer_keeps_none"),
        pytest.param(
            {"ssm": SSM, "architecture": "nemotron_h", "kv_heads": [8, 0] * 20},
            80 * KIB,
            id="layers_without_kv_heads",
        ),
    ],
)
def test_layers_that_keep_keys_and_values(headers, change, expected):
    gguf = {**headers["devstral-small-2"], **change}
    assert _memory.plan(gguf, host_memory_mib=VM)["kv_bytes_per_token"] == expected


@pytest.mark.parametrize(
    ("change", "states"),
    [
        pytest.param({"architecture": "falcon-h1"}, 40, id="falcon_in_every_layer"),
        pytest.param({"architecture": "qwen3next"}, 30, id="three_of_four"),
        pytest.param({"architecture": "qwen3next", "draft_layers": 2}, 29, id="not_in_draft_layers"),
        pytest.param({"architecture": "jamba", "kv_heads": [0, 8] * 20}, 20, id="where_there_are_no_kv_heads"),
        pytest.param(
            {"architecture": "nemotron_h", "kv_heads": [0] * 40, "feed_forward_length": [0, 0, 100, 100] * 10},
            20,
            id="feed_forward_layers_keep_nothing",
        ),
    ],
)
def test_layers_that_keep_a_state(headers, change, states):
    gguf = {**headers["devstral-small-2"], "ssm": {"conv_kernel": 4, "inner_size": 1024, "state_size": 16}, **change}
    assert _memory.plan(gguf, host_memory_mib=VM)["bytes"]["recurrent_state"] == states * 4 * (3 * 1024 + 16 * 1024)


@pytest.mark.parametrize(
    ("architecture", "full"),
    [pytest.param("smallthinker", [0, 4], id="first_of_each_period"), pytest.param("cohere2", [3, 7], id="last_of_each_period")],
)
def test_which_layers_have_the_window(headers, architecture, full):
    gguf = {**headers["devstral-small-2"], "architecture": architecture, "layers": 8, "kv_heads": [1] * 8, "sliding_window": 1024}
    for layer in range(8):
        heads = [0] * 8
        heads[layer] = 1
        kv_cache = _memory.plan({**gguf, "kv_heads": heads}, host_memory_mib=VM)["bytes"]["kv_cache"]
        assert kv_cache == (32768 if layer in full else 1536) * 512


def test_heads_of_another_size_under_the_window(headers):
    gguf = {**headers["gpt-oss-20b"], "key_length_swa": 32, "value_length_swa": 32}
    plan = _memory.plan(gguf, host_memory_mib=VM)
    assert plan["bytes"]["kv_cache"] == 12 * 8 * (128 * 2 * 32768 + 64 * 2 * 768)


# Several models.


def several(headers, *names, **settings):
    common = {"slots": 1, "context_size": 8192, "prompt_cache_mib": 0, **settings}
    return [{"name": name, "gguf": headers[name], **common} for name in names]


def test_each_of_several_models_takes_what_it_would_take_alone(headers):
    names = ("devstral-small-2", "mistral-7b")
    planned = plan_models(several(headers, *names), host_memory_mib=VM)
    for name in names:
        alone = _memory.plan(headers[name], slots=1, context_size=8192, prompt_cache_mib=0, reserve_mib=0, host_memory_mib=VM)
        assert planned["models"][name]["mib"]["total"] == alone["mib"]["total"]
        assert planned["models"][name]["settings"] == alone["settings"]
    total = sum(model["mib"]["total"] for model in planned["models"].values()) + ROUTER_MIB
    assert planned["memory_max_mib"] == total + total // 10


@pytest.mark.parametrize(
    ("memory", "pinned", "limit", "expected"),
    [
        # some 15300 MiB, 8700, 5400 and 2000, and 2176 for host and router
        pytest.param(64000, (), 0, 4, id="all"),
        pytest.param(32500, (), 0, 3, id="the_three_largest_fit"),
        pytest.param(30000, (), 0, 2, id="the_two_largest_fit"),
        pytest.param(22000, (), 0, 1, id="they_swap"),
        pytest.param(22000, ("qwen2.5-coder-1.5b",), 0, 2, id="a_small_one_stays_beside_the_others"),
        pytest.param(30000, ("qwen2.5-coder-1.5b", "mistral-7b"), 0, 3, id="two_stay"),
        pytest.param(64000, (), 2, 2, id="no_more_than_wanted"),
        pytest.param(64000, ("qwen2.5-coder-1.5b", "mistral-7b"), 1, 2, id="pinned_ones_are_always_loaded"),
        pytest.param(22000, (), 3, 1, id="no_more_than_fit"),
    ],
)
def test_how_many_models_can_be_loaded_at_once(headers, memory, pinned, limit, expected):
    models_ = several(headers, "devstral-small-2", "mistral-nemo-12b", "mistral-7b", "qwen2.5-coder-1.5b")
    for model in models_:
        model["pinned"] = model["name"] in pinned
    planned = plan_models(models_, host_memory_mib=memory, most_loaded=limit)
    assert planned["fits"]
    assert planned["most_loaded"] == expected
    said = "All can be loaded at once." if expected == 4 else f"{expected} of 4 can be loaded at once."
    assert planned["explanation"].endswith(said)


def test_whichever_are_loaded_they_fit(headers):
    """So many as are said, the largest first, with everything that auto found."""
    models_ = several(headers, "devstral-small-2", "mistral-nemo-12b", "mistral-7b", prompt_cache_mib="auto", slots="auto")
    models_[2]["pinned"] = True
    planned = plan_models(models_, host_memory_mib=40000)
    totals = sorted((model["mib"]["total"] for model in planned["models"].values() if not model["pinned"]), reverse=True)
    pinned = planned["models"]["mistral-7b"]["mib"]["total"]
    assert planned["most_loaded"] == 3
    assert pinned + sum(totals) + ROUTER_MIB <= 40000 - 2048
    assert all(model["mib"]["prompt_cache"] > 0 for model in planned["models"].values())


def test_a_model_that_has_no_room_beside_the_pinned_ones_is_named(headers):
    models_ = several(headers, "devstral-small-2", "codestral-22b", slots=2, context_size=32768)
    models_[0]["pinned"] = True
    planned = plan_models(models_, host_memory_mib=VM)
    assert not planned["fits"]
    assert planned["models"]["devstral-small-2"]["fits"]
    assert not planned["models"]["codestral-22b"]["fits"]
    free = VM - 2048 - ROUTER_MIB - planned["models"]["devstral-small-2"]["mib"]["total"]
    missing = planned["models"]["codestral-22b"]["mib"]["total"] - free
    explanation = planned["explanation"]
    assert "devstral-small-2 (pinned): weights 13663 + KV cache 10240 (2 slots of 32768 tokens of 160 KiB)" in explanation
    assert f"For codestral-22b there are {free} MiB beside the pinned models, {missing} MiB too few. " in explanation
    assert "Take a smaller model, or a host" not in explanation.split("For codestral-22b", maxsplit=1)[0]


def test_what_has_no_room_is_not_made_larger_by_auto(headers):
    """The share of a model that can be loaded is no help for one that cannot."""
    models_ = several(headers, "devstral-small-2", "mistral-7b", slots=4, context_size=32768, prompt_cache_mib="auto")
    models_[1].update(pinned=True, slots=1, context_size=4096)
    planned = plan_models(models_, host_memory_mib=VM)["models"]
    assert planned["devstral-small-2"]["mib"]["prompt_cache"] == 0
    assert planned["mistral-7b"]["mib"]["prompt_cache"] > 8192


def test_a_model_that_does_not_fit_alone_is_told_what_would(headers):
    settings = {"slots": 4, "context_size": 32768, "prompt_cache_mib": "auto"}
    planned = plan_models(several(headers, "devstral-small-2", **settings), host_memory_mib=VM)
    assert not planned["fits"]
    assert planned["models"]["devstral-small-2"]["mib"]["prompt_cache"] == 0
    assert "beside" not in planned["explanation"]
    assert "With one change it fits: context_size " in planned["explanation"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param({"name": ""}, "model 2 has the name ''; give each a name of its own.", id="no_name"),
        pytest.param({"name": "mistral-7b"}, "model 2 has the name 'mistral-7b'; give each a name of its own.", id="same_name"),
        pytest.param({"slots": 0}, "other: slots is 0; give a whole number of at least 1 or auto.", id="bad_setting"),
        pytest.param({"cache_type_k": "q8"}, "other: cache_type_k is 'q8'; give one of f32, f16, bf16,", id="bad_choice"),
        pytest.param({"context": 1}, "other: there is no setting context; known are slots, context_size,", id="unknown_setting"),
        pytest.param({"gguf": {}}, "other: gguf has no architecture, context_length,", id="no_header"),
        pytest.param(
            {"cache_type_k": "q8_0", "gguf": "odd"},
            "other: cache_type_k q8_0 needs head sizes that are multiples of 32",
            id="odd_heads",
        ),
    ],
)
def test_problems_with_one_of_several_models_name_it(headers, change, text):
    first, second = several(headers, "mistral-7b", "qwen2.5-coder-1.5b")
    second.update({"name": "other", **change})
    if second["gguf"] == "odd":
        second["gguf"] = {**headers["mistral-7b"], "key_length": 80, "key_length_swa": 80}
    with pytest.raises(CopilotError) as problem:
        plan_models([first, second], host_memory_mib=VM)
    assert str(problem.value).startswith(text)


def test_no_models():
    with pytest.raises(CopilotError, match="there are no models to plan for; give at least one"):
        plan_models([], host_memory_mib=VM)


# The pages.


def rows(page, head):
    """The cells of the table under a heading, as texts."""
    text = (DOCS / page).read_text().partition(f"## {head}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_shows_what_the_plan_says_of_the_measured_shapes(tmp_path):
    shown = {
        row[0]: [float(cell.split(" / ", maxsplit=1)[0]) for cell in row[1:]]
        for row in rows("memory.md", "Comparison with llama-server")
    }
    assert set(shown) == set(measured.TITLES.values())
    for name, title in measured.TITLES.items():
        gguf = _gguf.check(str(models.write(tmp_path / f"{name}.gguf", *measured.model(name))))
        size = _memory.plan(gguf, host_memory_mib=1 << 20, reserve_mib=0, **measured.settings(name))["bytes"]
        parts = [
            size["weights"],
            size["kv_cache"],
            size["recurrent_state"],
            size["compute"] - PROGRAM_BYTES,
            size["total"],
        ]
        assert shown[title] == pytest.approx([part / MIB for part in parts], abs=0.5), title


def test_the_page_shows_what_fits_on_a_32_gb_host(headers):
    shown = rows("memory.md", "Capacity of a 32 GB host")
    assert [row[0] for row in shown] == list(published.CATALOGUE)
    for name, *cells in shown:
        plan = _memory.plan(headers[name], host_memory_mib=VM, **role_defaults())
        auto = _memory.plan(headers[name], host_memory_mib=VM, **{**role_defaults(), **ALL_AUTO})["settings"]
        parts = ("weights", "kv_cache", "recurrent_state", "checkpoints", "compute", "prompt_cache", "total")
        expected = [str(plan["mib"][part]) for part in parts]
        expected.append(f"{auto['slots']} x {auto['context_size']}, {auto['prompt_cache_mib']}")
        assert cells == expected, name


def test_every_setting_of_the_planner_is_on_the_page():
    text = (DOCS / "memory.md").read_text()
    for one in (*fields(Settings), *fields(Host)):
        assert f"`{one.name}`" in text, one.name
