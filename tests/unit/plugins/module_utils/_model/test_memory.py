# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import re

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as memory
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.layers import PROGRAM_BYTES
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import CACHE_TYPES

MIB = 1 << 20
KIB = 1 << 10
NOTHING_ELSE = {"prompt_cache_mib": 0, "reserve_mib": 0, "host_memory_mib": 1 << 20}


def facts(**changes):
    """A model with 4 layers of 2 KV heads of 32 values: 1 KiB a token at f16."""
    known = {
        "architecture": "llama",
        "context_length": 131072,
        "layers": 4,
        "draft_layers": 0,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "heads": 4,
        "kv_heads": 2,
        "key_length": 32,
        "value_length": 32,
        "latent_attention": False,
        "shared_kv_layers": 0,
        "recurrent_layers": [],
        "full_attention_interval": 0,
        "shortconv_length": 0,
        "wkv_head_size": 0,
        "token_shift_count": 2,
        "kda_head_size": 0,
        "sliding_window": 0,
        "sliding_window_pattern": None,
        "vocab_size": 128256,
        "expert_used_count": 0,
        "expert_feed_forward_length": 0,
        "ssm": {},
        "tensor_bytes": 100 * MIB,
        "tensor_types": {"Q4_K": 60 * MIB, "F32": 40 * MIB},
        **changes,
    }
    return {**known, **{name + "_swa": known[name] for name in ("key_length", "value_length")}, **changes}


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        pytest.param("devstral", {}, 160 * KIB, id="devstral_f16"),
        pytest.param("devstral", {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 85 * KIB, id="devstral_q8_0"),
        pytest.param("devstral", {"cache_type_k": "q8_0"}, 80 * KIB + 85 * KIB // 2, id="devstral_only_keys_q8_0"),
        pytest.param("devstral", {"cache_type_k": "q4_0", "cache_type_v": "q4_0"}, 45 * KIB, id="devstral_q4_0"),
        pytest.param("devstral", {"cache_type_k": "f32", "cache_type_v": "f32"}, 320 * KIB, id="devstral_f32"),
        pytest.param("qwen", {}, 28 * KIB, id="qwen"),
        pytest.param("gemma", {}, 384 * KIB, id="gemma_without_its_window"),
        pytest.param("mamba", {}, 0, id="mamba_has_none"),
    ],
)
def test_kv_bytes_per_token(published, name, settings, expected):
    assert memory.plan(published[name], **NOTHING_ELSE, **settings)["kv_bytes_per_token"] == expected


def test_kv_bytes_of_layers_that_differ():
    assert memory.plan(facts(kv_heads=[2, 0, 1, 1]), **NOTHING_ELSE)["kv_bytes_per_token"] == KIB // 2


def test_cache_types_have_the_blocks_of_tensor_types():
    blocks = {name.lower(): sizes for name, *sizes in gguf.TENSOR_TYPES.values()}
    assert {name: tuple(blocks[name]) for name in CACHE_TYPES} == CACHE_TYPES


# What llama-server of llama.cpp 0.5.0 logged ("compute buffer size" and "output buffer size") on an x86-64 CPU.
Q15B = {"layers": 28, "embedding_length": 1536, "feed_forward_length": 8960, "heads": 12, "key_length": 128, "value_length": 128}


@pytest.mark.parametrize(
    ("model", "settings", "measured_mib"),
    [
        pytest.param(Q15B, {"context_size": 4096}, 68.51 + 0.49, id="1.5b_4k"),
        pytest.param(Q15B, {"context_size": 16384, "slots": 2}, 80.51 + 0.98, id="1.5b_16k_two_slots"),
        pytest.param(Q15B, {"context_size": 32768}, 96.51 + 0.49, id="1.5b_32k"),
        pytest.param(Q15B, {"context_size": 32768, "slots": 4}, 96.51 + 1.96, id="1.5b_four_slots"),
        pytest.param(Q15B, {"context_size": 32768, "ubatch": 1024}, 193.02 + 0.49, id="1.5b_large_batch"),
        pytest.param(Q15B, {"context_size": 32768, "ubatch": 128}, 24.13 + 0.49, id="1.5b_small_batch"),
        pytest.param(Q15B, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 93.59 + 0.49, id="1.5b_q8_0"),
        pytest.param(Q15B, {"flash_attention": "off"}, 848.01 + 0.49, id="1.5b_no_flash_attention"),
        pytest.param({}, {"context_size": 4096}, 5.14 + 0.49, id="tiny_4k"),
        pytest.param({}, {"context_size": 32768}, 33.14 + 0.49, id="tiny_32k"),
        pytest.param({}, {"context_size": 32768, "slots": 4}, 33.14 + 1.96, id="tiny_four_slots"),
        pytest.param({}, {"context_size": 32768, "ubatch": 1024}, 66.27 + 0.49, id="tiny_large_batch"),
        pytest.param({}, {"context_size": 4096, "slots": 2, "speculation": "ngram-mod"}, 63.76 + 63.6, id="tiny_that_guesses"),
        pytest.param(
            {}, {"context_size": 2048, "slots": 4, "speculation": "ngram-mod"}, 127.40 + 127.2, id="tiny_four_slots_that_guess"
        ),
    ],
)
def test_compute_buffers_against_the_real_server(model, settings, measured_mib):
    planned = memory.plan(facts(**model), **NOTHING_ELSE, **settings)["bytes"]["compute"] - PROGRAM_BYTES
    assert measured_mib - 0.1 <= planned / MIB <= 1.1 * measured_mib + 1  # the program's own share hides the tenth


@pytest.mark.parametrize(
    ("settings", "measured_mib"),
    [
        pytest.param({"context_size": 16384, "slots": 2}, 896, id="f16"),
        pytest.param({"context_size": 32768, "slots": 4}, 3584, id="four_slots"),
        pytest.param({"context_size": 32768, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 476, id="q8_0"),
    ],
)
def test_kv_cache_against_the_real_server(settings, measured_mib):
    assert memory.plan(facts(**Q15B), **NOTHING_ELSE, **settings)["mib"]["kv_cache"] == measured_mib


@pytest.mark.parametrize(
    ("model", "settings", "part", "expected"),
    [
        pytest.param({}, {"context_size": 1024}, "kv_cache", MIB, id="kv_cache"),
        pytest.param({}, {"context_size": 1025}, "kv_cache", 1280 * KIB, id="context_is_padded"),
        pytest.param({}, {"context_size": 1024, "slots": 3}, "kv_cache", 3 * MIB, id="each_slot_has_its_context"),
        pytest.param({}, {}, "checkpoints", 0, id="no_checkpoints_with_full_attention"),
        pytest.param({}, {}, "weights", 100 * MIB, id="weights_once"),
        pytest.param({}, {"load_mode": "mlock"}, "weights", 100 * MIB, id="weights_once_in_locked_memory"),
        pytest.param({}, {"load_mode": "mmap+mlock"}, "weights", 160 * MIB, id="locked_map_beside_repacked_weights"),
        pytest.param({}, {"prompt_cache_mib": 7}, "prompt_cache", 7 * MIB, id="prompt_cache"),
        pytest.param({}, {"reserve_mib": 9}, "reserve", 9 * MIB, id="reserve"),
        # 1024 + 512 tokens in two layers, 4096 in two.
        pytest.param(
            {"sliding_window": 1024, "sliding_window_pattern": 2},
            {"context_size": 4096},
            "kv_cache",
            (2 * 1536 + 2 * 4096) * 256,
            id="window_by_period",
        ),
        pytest.param(
            {"sliding_window": 1024, "sliding_window_pattern": 4, "kv_heads": [1, 1, 1, 2]},
            {"context_size": 4096},
            "kv_cache",
            (3 * 1536 + 2 * 4096) * 128,
            id="last_layer_of_a_period_is_full",
        ),
        pytest.param(
            {"sliding_window": 1024, "sliding_window_pattern": [True, True, True, False]},
            {"context_size": 4096},
            "kv_cache",
            (3 * 1536 + 4096) * 256,
            id="window_by_layer",
        ),
        pytest.param(
            {"sliding_window": 1024, "sliding_window_pattern": [True]},
            {"context_size": 4096},
            "kv_cache",
            (1536 + 3 * 4096) * 256,
            id="short_list_of_layers",
        ),
        pytest.param(
            {"sliding_window": 1024, "architecture": "gpt-oss"},
            {"context_size": 4096},
            "kv_cache",
            (2 * 1536 + 2 * 4096) * 256,
            id="window_known_by_architecture",
        ),
        pytest.param({"sliding_window": 1024}, {"context_size": 4096}, "kv_cache", 4 * MIB, id="unknown_pattern_counts_as_full"),
        pytest.param(
            {"sliding_window": 8192, "sliding_window_pattern": 2},
            {"context_size": 4096},
            "kv_cache",
            4 * MIB,
            id="window_larger_than_context",
        ),
        pytest.param(
            {"sliding_window": 1024, "sliding_window_pattern": 2},
            {"slots": 2, "context_checkpoints": 3},
            "checkpoints",
            2 * 3 * 2 * 1536 * 256,
            id="checkpoints_copy_the_windows",
        ),
        pytest.param(
            {"ssm": {"conv_kernel": 4, "inner_size": 128, "state_size": 16}, "kv_heads": [0, 0, 0, 2]},
            {"context_size": 1024},
            "kv_cache",
            1024 * 256,
            id="hybrid_keeps_keys_where_it_attends",
        ),
        pytest.param(
            {"ssm": {"conv_kernel": 4, "inner_size": 128, "state_size": 16}, "kv_heads": [0, 0, 0, 2]},
            {"slots": 2, "context_checkpoints": 1, "speculation": "ngram-cache"},
            "checkpoints",
            2 * 2 * 4 * 3 * (3 * 128 + 128 * 16),
            id="one_more_to_go_back_to_when_a_guess_was_wrong",
        ),
        pytest.param(
            {"ssm": {"conv_kernel": 4, "inner_size": 128, "state_size": 16}, "kv_heads": [0, 0, 0, 2]},
            {"slots": 2},
            "recurrent_state",
            2 * 4 * 3 * (3 * 128 + 128 * 16),
            id="hybrid_keeps_a_state_elsewhere",
        ),
        pytest.param(
            {"architecture": "rwkv7", "wkv_head_size": 32, "kv_heads": 0, "heads": 0},
            {"slots": 2},
            "recurrent_state",
            2 * 4 * 4 * 64 * (2 + 32),
            id="rwkv_keeps_two_rows_and_a_square_of_each_head",
        ),
        pytest.param({"architecture": "rwkv7", "wkv_head_size": 32}, {}, "kv_cache", 0, id="rwkv_attends_nowhere"),
        pytest.param(
            {"architecture": "kimi-linear", "kda_head_size": 32, "ssm": {"conv_kernel": 4}, "kv_heads": [0, 0, 0, 1]},
            {"slots": 2},
            "recurrent_state",
            2 * 3 * 4 * 4 * 32 * (9 + 32),
            id="kimi_keeps_three_convolutions_and_a_square_of_each_head",
        ),
        pytest.param(
            {"architecture": "minimax-01", "layers": 8},
            {"slots": 2},
            "recurrent_state",
            2 * 7 * 4 * 4 * 32 * 32,
            id="lightning_attention_in_seven_of_eight_layers",
        ),
    ],
)
def test_parts(model, settings, part, expected):
    assert memory.plan(facts(**model), **{**NOTHING_ELSE, **settings})["bytes"][part] == expected


def test_pure_recurrent_model_against_the_real_server():
    """A Mamba with these sizes logged checkpoints of 0.037 MiB and a state of 0.07 MiB for two slots."""
    ssm = {"conv_kernel": 4, "inner_size": 128, "state_size": 16, "time_step_rank": 4}
    model = facts(architecture="mamba", heads=0, kv_heads=0, key_length=0, value_length=0, ssm=ssm)
    plan = memory.plan(model, **NOTHING_ELSE, slots=2)
    assert plan["bytes"]["recurrent_state"] == 2 * 38 * KIB
    assert plan["bytes"]["kv_cache"] == 0
    assert plan["bytes"]["checkpoints"] == 2 * 32 * 38 * KIB


def test_checkpoints_of_a_large_recurrent_model_outgrow_its_weights(published):
    plan = memory.plan(published["mamba"], **NOTHING_ELSE, slots=2)
    assert plan["bytes"]["recurrent_state"] == 2 * 4 * 64 * (3 * (8192 + 2 * 8 * 128) + 8192 * 128)
    assert plan["mib"]["checkpoints"] == 16864
    assert " + recurrent state 527 (2 slots) + checkpoints 16864 (32 for each slot) + compute" in plan["explanation"]
    assert "KV cache" not in plan["explanation"]


def test_one_slot_is_twice_in_memory_while_it_is_saved(published):
    plan = memory.plan(published["devstral"], host_memory_mib=64000, slots=3, save_slots=True)
    assert plan["bytes"]["saved_slot"] * 3 == plan["bytes"]["kv_cache"]
    assert "+ saving one slot 5120 + reserve" in plan["explanation"]
    assert "saving" not in memory.plan(published["devstral"], host_memory_mib=64000, slots=3)["explanation"]


@pytest.mark.parametrize("name", ["mamba", "gemma"])
def test_what_cannot_continue_from_a_saved_slot_saves_none(published, name):
    plan = memory.plan(published[name], host_memory_mib=64000, save_slots=True)
    assert (plan["settings"]["save_slots"], plan["bytes"]["saved_slot"]) == (False, 0)
    assert "has no effect, since the model has sliding-window or recurrent layers" in plan["warnings"][0]


def test_totals_add_up(published):
    plan = memory.plan(published["devstral"], host_memory_mib=32000)
    parts = (
        "weights",
        "kv_cache",
        "recurrent_state",
        "checkpoints",
        "compute",
        "prompt_cache",
        "saved_slot",
        "drafts",
        "reserve",
    )
    for unit in ("mib", "bytes"):
        assert plan[unit]["total"] == sum(plan[unit][part] for part in parts)
        assert set(plan[unit]) == {*parts, "total", "host_memory"}
    assert all(0 <= plan["mib"][part] * MIB - plan["bytes"][part] < MIB for part in parts)
    assert plan["bytes"]["host_memory"] == 32000 * MIB


def test_explanation_of_what_fits(published):
    plan = memory.plan(published["devstral"], slots=2, prompt_cache_mib=2048, host_memory_mib=32000)
    weights, total = plan["mib"]["weights"], plan["mib"]["total"]
    assert plan["fits"] is True
    assert plan["explanation"] == (
        f"weights {weights} + KV cache 10240 (2 slots of 32768 tokens of 160 KiB) + compute 393 + prompt cache 2048 + "
        f"reserve 2048 = {total} MiB of 32000 MiB: fits, {32000 - total} MiB stay free."
    )


def test_explanation_of_what_does_not_fit(published):
    plan = memory.plan(published["devstral"], slots=4, prompt_cache_mib=2048, host_memory_mib=32000)
    total = plan["mib"]["total"]
    assert plan["fits"] is False
    assert plan["explanation"].startswith("weights ")
    assert (
        f" = {total} MiB, but the host has 32000 MiB: {total - 32000} MiB too few. With one change it fits: "
        in plan["explanation"]
    )
    assert plan["explanation"].endswith("context_size 22016; or slots 2; or cache_type_k q8_0 and cache_type_v q8_0.")


def test_explanation_names_the_window(published):
    assert "(1 slot of 32768 tokens, sliding window 1024)" in memory.plan(published["gemma"], **NOTHING_ELSE)["explanation"]


STEPS = {"context_size": 256, "slots": 1, "prompt_cache_mib": 256, "context_checkpoints": 1}


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        pytest.param("devstral", {"host_memory_mib": 32000, "slots": 3}, {"slots", "context_size"}, id="devstral"),
        pytest.param("devstral", {"host_memory_mib": 27000}, {"prompt_cache_mib"}, id="too_large_a_prompt_cache"),
        pytest.param("gemma", {"host_memory_mib": 24000}, {"context_checkpoints"}, id="windows"),
        pytest.param("mamba", {"host_memory_mib": 16000}, {"context_checkpoints"}, id="recurrent"),
    ],
)
def test_proposals_are_the_nearest_that_fit(published, name, settings, named):
    plan = memory.plan(published[name], **settings)
    proposals = {
        key: int(value) for key, value in re.findall(r"(\w+) (\d+)(?=; or|\.)", plan["explanation"].partition("it fits: ")[2])
    }
    assert named <= set(proposals)
    for key, value in proposals.items():
        assert memory.plan(published[name], **{**settings, key: value})["fits"]
        assert not memory.plan(published[name], **{**settings, key: value + STEPS[key]})["fits"]


def test_several_changes_are_needed(published):
    plan = memory.plan(published["devstral"], slots=8, host_memory_mib=16000)
    least = memory.plan(published["devstral"], context_size=4096, prompt_cache_mib=0, host_memory_mib=16000, reserve_mib=2048)
    assert not least["fits"]
    assert plan["explanation"].endswith(
        f"Take a smaller model, or a host with at least {least['mib']['total']} MiB, which is for 1 slot of 4096 tokens."
    )
    plan = memory.plan(published["devstral"], slots=8, host_memory_mib=18000)
    assert plan["explanation"].endswith(
        f"It takes several changes: 1 slot of 4096 tokens without prompt cache and checkpoints takes {least['mib']['total']} MiB."
    )


def test_quantised_cache_is_not_proposed_where_heads_do_not_allow_it():
    model = facts(key_length=80, value_length=80, tensor_bytes=MIB)
    plan = memory.plan(model, prompt_cache_mib=0, reserve_mib=0, host_memory_mib=250, slots=4, context_size=32768)
    assert not plan["fits"]
    assert "q8_0" not in plan["explanation"]


def test_fits_to_the_last_mib():
    needed = memory.plan(facts(), **NOTHING_ELSE)["mib"]["total"]
    assert memory.plan(facts(), **{**NOTHING_ELSE, "host_memory_mib": needed})["fits"] is True
    assert memory.plan(facts(), **{**NOTHING_ELSE, "host_memory_mib": needed - 1})["fits"] is False


@pytest.mark.parametrize(
    ("tensor_bytes", "host_memory_mib", "expected_headroom"),
    [
        pytest.param(100 * MIB, 1 << 20, 512, id="at_least_512"),
        pytest.param(20000 * MIB, 1 << 20, 2019, id="a_tenth"),
        pytest.param(20000 * MIB, 20500, 5, id="never_of_the_reserve"),
        pytest.param(20000 * MIB, 20495, 0, id="nothing_is_left"),
        pytest.param(20000 * MIB, 20000, 0, id="does_not_fit"),
    ],
)
def test_memory_max(tensor_bytes, host_memory_mib, expected_headroom):
    settings = {"prompt_cache_mib": 0, "reserve_mib": 300, "host_memory_mib": host_memory_mib}
    plan = memory.plan(facts(tensor_bytes=tensor_bytes), context_size=32768, **settings)
    assert plan["memory_max_mib"] - (plan["mib"]["total"] - 300) == expected_headroom


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"slots": 0}, "slots is 0; give a whole number of at least 1 or auto.", id="no_slots"),
        pytest.param({"context_size": "32k"}, "context_size is '32k'; give a whole number of at least 1 or auto.", id="text"),
        pytest.param({"context_size": True}, "context_size is True; give a whole number of at least 1 or auto.", id="boolean"),
        pytest.param({"ubatch": 0}, "ubatch is 0; give a whole number of at least 1.", id="no_batch"),
        pytest.param(
            {"prompt_cache_mib": -1}, "prompt_cache_mib is -1; give a whole number of at least 0 or auto.", id="unlimited_cache"
        ),
        pytest.param({"host_memory_mib": 0}, "host_memory_mib is 0; give a whole number of at least 1.", id="no_memory"),
        pytest.param(
            {"cache_type_k": "q8"},
            "cache_type_k is 'q8'; give one of f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl.",
            id="unknown_cache_type",
        ),
        pytest.param({"flash_attention": True}, "flash_attention is True; give one of auto, on, off.", id="flash_attention"),
        pytest.param(
            {"load_mode": "lock"}, "load_mode is 'lock'; give one of auto, none, mmap, mlock, mmap+mlock, dio.", id="load_mode"
        ),
    ],
)
def test_settings_out_of_range(settings, text):
    with pytest.raises(CopilotError) as problem:
        memory.plan(facts(), **{**NOTHING_ELSE, **settings})
    assert str(problem.value) == text


def test_cache_type_that_the_heads_do_not_allow():
    with pytest.raises(CopilotError) as problem:
        memory.plan(facts(value_length=80), **NOTHING_ELSE, cache_type_v="q8_0")
    assert str(problem.value) == (
        "cache_type_v q8_0 needs head sizes that are multiples of 32, and the model has 80 (value_length); use f16."
    )


def test_incomplete_facts():
    model = facts()
    del model["layers"], model["ssm"]
    with pytest.raises(CopilotError) as problem:
        memory.plan(model, **NOTHING_ELSE)
    assert str(problem.value) == "gguf has no layers, ssm; give the gguf dictionary that gguf_info returns."
