# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much memory llama-server takes for a model and its settings, from the facts of ``_gguf``.

The estimate is an upper bound that was held against the buffer sizes which llama-server logs:

- Weights count once. They are mapped from the file, and the engine keeps a second copy of those that it repacks for
  the CPU (``CPU_REPACK``), but the pages of the file behind the copy are never needed again: the kernel drops them.
  Unless load mode mmap+mlock forbids it.
- Every slot has a KV cache for its whole context. With sliding-window layers that is the window and one batch.
- The prompt cache (``--cache-ram``) comes on top, as do the context checkpoints of models that cannot go back
  within their cache (sliding window, recurrent): up to ``--ctx-checkpoints`` for each slot, outside the prompt cache.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._errors import CopilotError

MIB = 1 << 20
CELL_PADDING = 256  # llama.cpp rounds the tokens of a slot up to this
LEAST_CONTEXT = 4096  # no agent works with fewer tokens, so none are proposed

# KV cache types: name -> (values in a block, bytes of a block).
CACHE_TYPES = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}

# Every n-th layer attends to the whole context, where the file does not say it itself.
SLIDING_WINDOW_PATTERNS = {"cohere2": 4, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2}

CHOICES = {
    "cache_type_k": tuple(CACHE_TYPES),
    "cache_type_v": tuple(CACHE_TYPES),
    "flash_attention": ("auto", "on", "off"),
    "load_mode": ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"),
}

# Tensor types that llama.cpp repacks on one CPU or another.
REPACKED_TYPES = ("Q2_K", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4")

PROGRAM_BYTES = 128 * MIB  # program, tokenizer, threads' scratch: 60 to 80 MiB measured with 128k tokens
HEADROOM_SHARE, HEADROOM_MIB = 10, 512  # of MemoryMax above the estimate: a tenth, at least this


# What of the facts of _gguf decides about memory.
MODEL_FACTS = frozenset(
    {
        "architecture",
        "embedding_length",
        "expert_feed_forward_length",
        "expert_used_count",
        "feed_forward_length",
        "heads",
        "key_length",
        "kv_heads",
        "layers",
        "sliding_window",
        "sliding_window_pattern",
        "ssm",
        "tensor_bytes",
        "tensor_types",
        "value_length",
        "vocab_size",
    }
)


@dataclass(frozen=True)
class Settings:
    """Settings of llama-server and of the host that decide about memory."""

    host_memory_mib: int
    slots: int = 1
    context_size: int = 32768  # tokens for each slot
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    prompt_cache_mib: int = 8192  # what llama-server takes when told nothing
    context_checkpoints: int = 32  # for each slot; likewise
    ubatch: int = 512
    flash_attention: str = "auto"
    load_mode: str = "mmap"
    reserve_mib: int = 2048


def _problem(settings: Settings) -> str:
    lowest = {"slots": 1, "context_size": 1, "ubatch": 1, "host_memory_mib": 1}
    for name, value in asdict(settings).items():
        if name in CHOICES:
            if value not in CHOICES[name]:
                return f"{name} is {value!r}; give one of {', '.join(CHOICES[name])}"
        elif isinstance(value, bool) or not isinstance(value, int) or value < lowest.get(name, 0):
            return f"{name} is {value!r}; give a whole number of at least {lowest.get(name, 0)}"
    return ""


def _per_layer(value: Any, layers: int) -> list[int]:
    return list(value) if isinstance(value, list) else [value] * layers


def _windowed(gguf: dict[str, Any]) -> list[bool]:
    """For each layer, whether it sees a sliding window only. Unknown patterns count as full: never too little."""
    layers = gguf["layers"]
    pattern = gguf["sliding_window_pattern"] or SLIDING_WINDOW_PATTERNS.get(gguf["architecture"])
    if not gguf["sliding_window"] or not pattern:
        return [False] * layers
    if isinstance(pattern, list):
        return [bool(item) for item in pattern[:layers]] + [False] * (layers - len(pattern))
    return [layer % pattern != pattern - 1 for layer in range(layers)]


def _weight_bytes(gguf: dict[str, Any], settings: Settings) -> int:
    weights = int(gguf["tensor_bytes"])
    if settings.load_mode == "mmap+mlock":
        weights += sum(gguf["tensor_types"].get(name, 0) for name in REPACKED_TYPES)
    return weights


def _row_bytes(gguf: dict[str, Any], settings: Settings) -> int:
    """Bytes of one token's keys and values of one KV head."""
    total = 0
    for values, name in (("key_length", "cache_type_k"), ("value_length", "cache_type_v")):
        cache_type = getattr(settings, name)
        block, block_bytes = CACHE_TYPES[cache_type]
        if gguf[values] % block:
            raise CopilotError(
                f"{name} {cache_type} needs head sizes that are multiples of {block}, and the model has "
                f"{gguf[values]} ({values}); use f16."
            )
        total += gguf[values] // block * block_bytes
    return total


def kv_bytes_per_token(gguf: dict[str, Any], settings: Settings) -> int:
    """Of one token in all layers, as long as no sliding window drops it."""
    return sum(_per_layer(gguf["kv_heads"], gguf["layers"])) * _row_bytes(gguf, settings)


def _padded(tokens: int) -> int:
    return tokens + -tokens % CELL_PADDING


def _state_bytes(gguf: dict[str, Any]) -> int:
    """Of one conversation in the recurrent layers (32-bit values), whatever its length."""
    ssm = gguf["ssm"]
    if not ssm:
        return 0
    kv_heads = _per_layer(gguf["kv_heads"], gguf["layers"])
    # In a hybrid the layers without KV heads are the recurrent ones; in a pure one all are.
    recurrent = kv_heads.count(0) or len(kv_heads)
    inner, state, groups, kernel = (int(ssm.get(key, 0)) for key in ("inner_size", "state_size", "group_count", "conv_kernel"))
    convolution = max(kernel - 1, 0) * (inner + 2 * groups * state)
    return 4 * recurrent * (convolution + inner * state)


def _slot_bytes(gguf: dict[str, Any], settings: Settings) -> tuple[int, int]:
    """Of one slot: its whole cache, and the part that a context checkpoint copies."""
    row = _row_bytes(gguf, settings)
    full = _padded(settings.context_size)
    window = min(full, _padded(gguf["sliding_window"] + settings.ubatch))
    whole = checkpoint = _state_bytes(gguf)
    for heads, windowed in zip(_per_layer(gguf["kv_heads"], gguf["layers"]), _windowed(gguf)):
        layer = heads * row * (window if windowed else full)
        whole += layer
        checkpoint += layer if windowed else 0
    return whole, checkpoint


def _compute_bytes(gguf: dict[str, Any], settings: Settings) -> int:
    """The scratch buffer for one physical batch: its activations and its attention mask; and one row of logits a slot.

    Without flash attention, which llama-server chooses on a CPU, also the attention scores of all heads.
    """
    layers = gguf["layers"]
    heads = max(_per_layer(gguf["heads"], layers), default=0)
    width: int = max(gguf["embedding_length"], heads * gguf["key_length"])
    feed_forward: int = max(
        *_per_layer(gguf["feed_forward_length"], layers),
        gguf["expert_feed_forward_length"] * gguf["expert_used_count"],
        2 * gguf["ssm"].get("inner_size", 0),
    )
    activations = 4 * (3 * feed_forward + 4 * width)
    scores = (4 + 4 * heads) if settings.flash_attention == "off" else 2  # bytes: mask alone is 16-bit
    attention = scores * _padded(settings.context_size)
    logits = 4 * int(gguf["vocab_size"]) * settings.slots
    return settings.ubatch * (activations + attention) + logits + PROGRAM_BYTES


def _parts(gguf: dict[str, Any], settings: Settings) -> dict[str, int]:
    slot, checkpoint = _slot_bytes(gguf, settings)
    return {
        "weights": _weight_bytes(gguf, settings),
        "kv_cache": slot * settings.slots,
        "checkpoints": checkpoint * settings.context_checkpoints * settings.slots,
        "compute": _compute_bytes(gguf, settings),
        "prompt_cache": settings.prompt_cache_mib * MIB,
        "reserve": settings.reserve_mib * MIB,
    }


def _mib(size: int) -> int:
    return -(-size // MIB)


def _fits_with(gguf: dict[str, Any], settings: Settings, **changes: Any) -> bool:
    changed = replace(settings, **changes)
    return sum(map(_mib, _parts(gguf, changed).values())) <= changed.host_memory_mib


def _alternatives(gguf: dict[str, Any], settings: Settings) -> list[str]:
    """Single changes that would make it fit, each as small as it can be."""
    lower = {
        "context_size": range(_padded(settings.context_size) - CELL_PADDING, LEAST_CONTEXT - 1, -CELL_PADDING),
        "slots": range(settings.slots - 1, 0, -1),
        "prompt_cache_mib": range((settings.prompt_cache_mib - 1) // 256 * 256, -1, -256),
        "context_checkpoints": range(settings.context_checkpoints - 1, -1, -1),
    }
    found = []
    for name, values in lower.items():
        value = next((value for value in values if _fits_with(gguf, settings, **{name: value})), None)
        if value is not None:
            found.append(f"{name} {value}")
    lengths_allow = gguf["key_length"] % 32 == 0 and gguf["value_length"] % 32 == 0
    larger_types = {"f32", "f16", "bf16"} & {settings.cache_type_k, settings.cache_type_v}
    if larger_types and lengths_allow and _fits_with(gguf, settings, cache_type_k="q8_0", cache_type_v="q8_0"):
        found.append("cache_type_k and cache_type_v q8_0")
    return found


def _advice(gguf: dict[str, Any], settings: Settings) -> str:
    alternatives = _alternatives(gguf, settings)
    if alternatives:
        return f"With one change it fits: {'; or '.join(alternatives)}."
    least = replace(settings, slots=1, context_size=LEAST_CONTEXT, prompt_cache_mib=0, context_checkpoints=0)
    total = sum(map(_mib, _parts(gguf, least).values()))
    if total <= settings.host_memory_mib:
        return f"It takes several changes: 1 slot of {LEAST_CONTEXT} tokens without prompt cache takes {total} MiB."
    return f"Take a smaller model, or a host with more than {total} MiB, which is for 1 slot of {LEAST_CONTEXT} tokens."


def _explanation(gguf: dict[str, Any], settings: Settings, mib: dict[str, int]) -> str:
    slots = "1 slot" if settings.slots == 1 else f"{settings.slots} slots"
    per_token = kv_bytes_per_token(gguf, settings) / 1024
    kv_cache = f"KV cache {mib['kv_cache']} ({slots} of {settings.context_size} tokens"
    if any(_windowed(gguf)):
        kv_cache += f", sliding window {gguf['sliding_window']})"
    elif per_token:
        kv_cache += f" of {per_token:g} KiB)"
    else:
        kv_cache += ", recurrent state)"
    checkpoints = f"checkpoints {mib['checkpoints']} + " if mib["checkpoints"] else ""
    sums = (
        f"weights {mib['weights']} + {kv_cache} + {checkpoints}compute {mib['compute']} + "
        f"prompt cache {mib['prompt_cache']} + reserve {mib['reserve']} = {mib['total']} MiB"
    )
    missing = mib["total"] - settings.host_memory_mib
    if missing <= 0:
        return f"{sums} of {settings.host_memory_mib} MiB: fits, {-missing} MiB stay free."
    return f"{sums}, but the host has {settings.host_memory_mib} MiB: {missing} MiB too few. {_advice(gguf, settings)}"


def plan(gguf: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The memory plan for a model (the dict of ``_gguf.read``) and the fields of ``Settings``.

    Returns ``bytes`` and ``mib`` (each part rounded up) with the keys weights, kv_cache, checkpoints, compute,
    prompt_cache, reserve, total and host_memory; ``kv_bytes_per_token``; ``fits``; ``memory_max_mib`` for systemd;
    and ``explanation``, one line for people. Raises CopilotError for settings out of range.
    """
    missing = sorted(MODEL_FACTS - gguf.keys())
    if missing:
        raise CopilotError(f"gguf has no {', '.join(missing)}; give the gguf dictionary that gguf_info returns.")
    chosen = Settings(**settings)
    problem = _problem(chosen)
    if problem:
        raise CopilotError(f"{problem}.")
    parts = _parts(gguf, chosen)
    mib = {name: _mib(size) for name, size in parts.items()}
    mib["total"], mib["host_memory"] = sum(mib.values()), chosen.host_memory_mib
    own = mib["total"] - mib["reserve"]
    return {
        "bytes": {**parts, "total": sum(parts.values()), "host_memory": chosen.host_memory_mib * MIB},
        "mib": mib,
        "kv_bytes_per_token": kv_bytes_per_token(gguf, chosen),
        "fits": mib["total"] <= chosen.host_memory_mib,
        "memory_max_mib": min(own + max(own // HEADROOM_SHARE, HEADROOM_MIB), chosen.host_memory_mib),
        "explanation": _explanation(gguf, chosen, mib),
    }
