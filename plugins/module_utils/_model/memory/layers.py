# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many bytes llama-server takes for a model and its settings, from the facts of ``_gguf``, layer by layer.

The estimate is an upper bound that is held against the buffer sizes which llama-server logs (docs/memory.md):

- Weights count once. They are mapped from the file, and the engine keeps a second copy of those that it repacks for
  the CPU (``CPU_REPACK``), but the pages of the file behind the copy are never needed again: the kernel drops them.
  Unless load mode mmap+mlock forbids it.
- Every slot has a KV cache for its whole context. With sliding-window layers that is the window and one batch.
  Recurrent layers have a state of fixed size for each slot instead.
- The prompt cache (``--cache-ram``) comes on top, as do the context checkpoints of models that cannot go back
  within their cache (sliding window, recurrent): up to ``--ctx-checkpoints`` for each slot, outside the prompt cache.
- Where slots are saved during restarts, the file of one slot at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.gguf import OTHER_FILE
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import Settings
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import (
    CACHE_TYPES,
    COMPUTED,
    DRAFT_LAYERS,
    DRAFT_MODEL,
    OFF,
    methods,
)

MIB = 1 << 20
CELL_PADDING = 256  # llama.cpp rounds the tokens of a slot up to this

# Where the file does not say which layers have the sliding window: every n-th has not (the first of n, or the last).
SLIDING_WINDOW_PATTERNS = {
    "afmoe": 4,
    "cohere2": 4,
    "cohere2moe": 4,
    "exaone-moe": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "llama4": 4,
    "mellum": 4,
    "olmo2": 4,
    "plamo3": 8,
    "smallthinker": 4,
}
FIRST_LAYER_IS_FULL = ("cohere2moe", "smallthinker")

# Which layers are recurrent: all; all, beside attention; all but every n-th; else those without KV heads, or none.
RECURRENT = ("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7")
RECURRENT_BESIDE_ATTENTION = ("falcon-h1",)
FULL_ATTENTION_INTERVALS = {"minimax-01": 8, "qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4}

# Recurrent layers that keep a square of the head's size for each head, and nothing of earlier tokens.
LIGHTNING_ATTENTION = ("minimax-01",)
KDA_CONVOLUTION = 4  # tokens that its convolution sees, where the file does not say

# Only the first layers have a KV cache, and the others use theirs.
LAYERS_WITH_KV = {"gemma3n": 20}

# Tensor types that llama.cpp repacks on one CPU or another.
REPACKED_TYPES = ("Q2_K", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4")
PROGRAM_BYTES = 128 * MIB  # program, tokenizer, threads' scratch: 60 to 80 MiB measured with 128k tokens

PREDICTING_STATES = 14  # of a token, beside a layer's usual ones, where layers predict further tokens: 11 to 13 measured

# What of the facts of _gguf decides about memory.
MODEL_FACTS = frozenset(
    {
        "architecture",
        "context_length",
        "draft_layers",
        "embedding_length",
        "expert_feed_forward_length",
        "expert_used_count",
        "feed_forward_length",
        "full_attention_interval",
        "heads",
        "kda_head_size",
        "key_length",
        "key_length_swa",
        "kv_heads",
        "latent_attention",
        "layers",
        "recurrent_layers",
        "shared_kv_layers",
        "shortconv_length",
        "sliding_window",
        "sliding_window_pattern",
        "ssm",
        "tensor_bytes",
        "tensor_types",
        "token_shift_count",
        "value_length",
        "value_length_swa",
        "vocab_size",
        "wkv_head_size",
    }
)


@dataclass(frozen=True)
class Layer:
    """What of a layer decides about memory. Its row is one token's keys and values of one head, in bytes."""

    kv_heads: int
    row: int
    windowed: bool
    recurrent: bool


def check_facts(gguf: Mapping[str, Any], where: str = "") -> None:
    missing = sorted(MODEL_FACTS - gguf.keys())
    if missing:
        raise CopilotError(f"{where}gguf has no {', '.join(missing)}; give the gguf dictionary that gguf_info returns.")
    if not gguf["layers"]:
        raise CopilotError(f"{where}gguf has no layers, so that it is no model; {OTHER_FILE}.")
    if "draft" in gguf:
        check_facts(gguf["draft"], f"{where}draft: ")


def _per_layer(value: Any, layers: int) -> list[int]:
    return list(value) if isinstance(value, list) else [value] * layers


def windowed_layers(gguf: Mapping[str, Any]) -> list[bool]:
    """For each layer, whether it sees a sliding window only. Unknown patterns count as full: never too little."""
    layers, architecture = gguf["layers"], gguf["architecture"]
    pattern = gguf["sliding_window_pattern"] or SLIDING_WINDOW_PATTERNS.get(architecture)
    if not gguf["sliding_window"] or not pattern:
        return [False] * layers
    if isinstance(pattern, list):
        return [bool(item) for item in pattern[:layers]] + [False] * (layers - len(pattern))
    full = 0 if architecture in FIRST_LAYER_IS_FULL else pattern - 1
    return [layer % pattern != full for layer in range(layers)]


def _recurrent(gguf: Mapping[str, Any], kv_heads: list[int]) -> list[bool]:
    """For each layer, whether it keeps a state of fixed size."""
    layers, architecture = gguf["layers"], gguf["architecture"]
    if architecture in RECURRENT or architecture in RECURRENT_BESIDE_ATTENTION:
        return [True] * layers
    if architecture in FULL_ATTENTION_INTERVALS:
        if gguf["recurrent_layers"]:
            return [bool(item) for item in _per_layer(gguf["recurrent_layers"], layers)]
        interval = gguf["full_attention_interval"] or FULL_ATTENTION_INTERVALS[architecture]
        return [(layer + 1) % interval != 0 for layer in range(layers)]
    if not gguf["ssm"] and not gguf["shortconv_length"]:
        return [False] * layers
    feed_forward = _per_layer(gguf["feed_forward_length"], layers)
    only_that = architecture.startswith("nemotron_h")  # there, a layer is recurrent, attention, or feed-forward
    return [not heads and not (only_that and width) for heads, width in zip(kv_heads, feed_forward)]


def _row_bytes(gguf: Mapping[str, Any], settings: Settings, suffix: str = "") -> int:
    """Bytes of one token's keys and values of one KV head."""
    total = 0
    for values, name in (("key_length", "cache_type_k"), ("value_length", "cache_type_v")):
        length = gguf[values + suffix]
        cache_type = getattr(settings, name)
        block, block_bytes = CACHE_TYPES[cache_type]
        if length % block:
            raise CopilotError(
                f"{name} {cache_type} needs head sizes that are multiples of {block}, and the model has "
                f"{length} ({values}{suffix}); use f16."
            )
        if values == "key_length" or not gguf["latent_attention"]:  # latent attention reads values out of the keys
            total += length // block * block_bytes
    return total


def _layers(gguf: Mapping[str, Any], settings: Settings) -> list[Layer]:
    count = gguf["layers"]
    heads = _per_layer(gguf["kv_heads"], count)
    recurrent, windowed = _recurrent(gguf, heads), windowed_layers(gguf)
    with_kv = LAYERS_WITH_KV.get(gguf["architecture"], count - gguf["shared_kv_layers"])
    row, row_swa = _row_bytes(gguf, settings), _row_bytes(gguf, settings, "_swa")
    beside = gguf["architecture"] in RECURRENT_BESIDE_ATTENTION
    trunk = count - gguf["draft_layers"]  # the last predict further tokens, in a context of their own
    layers = []
    for layer in range(count):
        attention = layer < with_kv and layer < trunk and (beside or not recurrent[layer])
        layers.append(
            Layer(
                kv_heads=heads[layer] if attention else 0,
                row=row_swa if windowed[layer] else row,
                windowed=windowed[layer],
                recurrent=recurrent[layer] and layer < trunk,
            )
        )
    return layers


def kv_bytes_per_token(gguf: Mapping[str, Any], settings: Settings) -> int:
    """Of one token in all layers, as long as no sliding window drops it."""
    return sum(layer.kv_heads * layer.row for layer in _layers(gguf, settings))


def padded(tokens: int) -> int:
    return tokens + -tokens % CELL_PADDING


def _window(gguf: Mapping[str, Any], settings: Settings) -> int:
    """Tokens of a slot that are kept in layers with a sliding window."""
    return min(padded(settings.context_size), padded(gguf["sliding_window"] + settings.ubatch))


def _state_bytes(gguf: Mapping[str, Any]) -> int:
    """Of one conversation in one recurrent layer (32-bit values), whatever its length."""
    ssm = gguf["ssm"]
    heads = max(_per_layer(gguf["heads"], gguf["layers"]))
    if gguf["wkv_head_size"]:  # RWKV
        return 4 * int(gguf["embedding_length"] * (gguf["token_shift_count"] + gguf["wkv_head_size"]))
    if gguf["kda_head_size"]:  # Kimi's delta attention: a convolution for queries, keys and values, and a square
        seen = int(ssm.get("conv_kernel", 0)) or KDA_CONVOLUTION
        return 4 * int(gguf["kda_head_size"] * heads * (3 * (seen - 1) + gguf["kda_head_size"]))
    if gguf["architecture"] in LIGHTNING_ATTENTION:
        return 4 * heads * int(gguf["key_length"]) ** 2
    inner, state, groups, kernel = (int(ssm.get(key, 0)) for key in ("inner_size", "state_size", "group_count", "conv_kernel"))
    convolution = max(kernel - 1, 0) * (inner + 2 * groups * state)
    if gguf["shortconv_length"]:
        convolution = gguf["embedding_length"] * (gguf["shortconv_length"] - 1)
    return 4 * (convolution + inner * state)


@dataclass(frozen=True)
class Slot:
    """Bytes of one slot: its KV cache, its recurrent state, and what a context checkpoint copies of both."""

    kv_cache: int
    state: int
    checkpoint: int


def slot_bytes(gguf: Mapping[str, Any], settings: Settings) -> Slot:
    full, window = padded(settings.context_size), _window(gguf, settings)
    layers = _layers(gguf, settings)
    windows = sum(layer.kv_heads * layer.row * window for layer in layers if layer.windowed)
    fulls = sum(layer.kv_heads * layer.row * full for layer in layers if not layer.windowed)
    state = _state_bytes(gguf) * sum(layer.recurrent for layer in layers)
    return Slot(windows + fulls, state, windows + state)


def why_slots_are_lost(gguf: Mapping[str, Any], settings: Settings) -> str:
    """Why a saved slot cannot be used again: llama-server saves neither checkpoints nor what drafts are computed from."""
    if slot_bytes(gguf, settings).checkpoint:
        return "the model has sliding-window or recurrent layers"
    if COMPUTED & {*methods(settings.speculation)}:
        return "llama-server saves no state of a draft model"
    return ""


def drafting_slot(gguf: Mapping[str, Any], settings: Settings) -> Slot:
    """Bytes of one slot in the context that computes guesses, whose cache types are llama-server's own."""
    own = replace(settings, cache_type_k="f16", cache_type_v="f16", speculation=OFF)
    if DRAFT_MODEL in methods(settings.speculation):
        return slot_bytes(gguf["draft"], own)
    if DRAFT_LAYERS in methods(settings.speculation):
        heads = _per_layer(gguf["kv_heads"], gguf["layers"])[-gguf["draft_layers"] :]
        return Slot(sum(heads) * _row_bytes(gguf, own) * padded(settings.context_size), 0, 0)
    return Slot(0, 0, 0)


def _draft_bytes(gguf: Mapping[str, Any], settings: Settings) -> int:
    """What computes guesses: a second model, or a second context of this one."""
    used = methods(settings.speculation)
    if not COMPUTED & {*used}:
        return 0
    slot = drafting_slot(gguf, settings)
    own = replace(settings, speculation=OFF)
    model = gguf["draft"] if DRAFT_MODEL in used else gguf
    slots = (slot.kv_cache + slot.state + slot.checkpoint * settings.context_checkpoints) * settings.slots
    if DRAFT_MODEL in used:
        return _weight_bytes(model, own) + slots + _compute_bytes(model, own)
    states = 4 * settings.ubatch * PREDICTING_STATES * int(gguf["embedding_length"])
    return slots + states + _compute_bytes(model, own) - PROGRAM_BYTES


def _weight_bytes(gguf: Mapping[str, Any], settings: Settings) -> int:
    weights = int(gguf["tensor_bytes"])
    if settings.load_mode == "mmap+mlock":
        weights += sum(gguf["tensor_types"].get(name, 0) for name in REPACKED_TYPES)
    return weights


def _compute_bytes(gguf: Mapping[str, Any], settings: Settings) -> int:
    """The scratch buffer for one physical batch: its activations and its attention mask; and one row of logits a slot.

    A slot that guesses tokens has a row for each of them, too: in the scratch buffer, in place of its activations,
    and in a copy.
    Without flash attention, which llama-server chooses on a CPU, also the attention scores of all heads.
    """
    layers = gguf["layers"]
    heads = max(_per_layer(gguf["heads"], layers), default=0)
    width: int = max(gguf["embedding_length"], heads * gguf["key_length"])
    feed_forward: int = max(
        *_per_layer(gguf["feed_forward_length"], layers),
        gguf["expert_feed_forward_length"] * gguf["expert_used_count"],
        2 * int(gguf["ssm"].get("inner_size", 0)),
    )
    activations = 4 * (3 * feed_forward + 4 * width)
    scores = (4 + 4 * heads) if settings.flash_attention == "off" else 2  # bytes: mask alone is 16-bit
    attention = scores * padded(settings.context_size)
    if any(windowed_layers(gguf)):  # they have a mask of their own
        attention += 2 * _window(gguf, settings)
    rows = settings.slots * (1 + settings.drafted_tokens)
    vocabulary = int(gguf["vocab_size"])
    scratch = max(settings.ubatch * (activations + attention), 4 * rows * (vocabulary + 4 * width))
    return scratch + 4 * rows * vocabulary + PROGRAM_BYTES


def parts_of(gguf: Mapping[str, Any], settings: Settings) -> dict[str, int]:
    slot = slot_bytes(gguf, settings)
    before_guesses = slot.state if settings.drafted_tokens else 0  # to go back to when a guess was wrong
    return {
        "weights": _weight_bytes(gguf, settings),
        "kv_cache": slot.kv_cache * settings.slots,
        "recurrent_state": slot.state * settings.slots,
        "checkpoints": (slot.checkpoint * settings.context_checkpoints + before_guesses) * settings.slots,
        "compute": _compute_bytes(gguf, settings),
        "prompt_cache": settings.prompt_cache_mib * MIB,
        "saved_slot": slot.kv_cache if settings.save_slots else 0,
        "drafts": _draft_bytes(gguf, settings),
    }
