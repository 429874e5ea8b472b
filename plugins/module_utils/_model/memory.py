# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much memory llama-server takes for models and their settings, from the facts of ``_gguf``, and what fits.

The estimate is an upper bound that is held against the buffer sizes which llama-server logs (docs/memory.md):

- Weights count once. They are mapped from the file, and the engine keeps a second copy of those that it repacks for
  the CPU (``CPU_REPACK``), but the pages of the file behind the copy are never needed again: the kernel drops them.
  Unless load mode mmap+mlock forbids it.
- Every slot has a KV cache for its whole context. With sliding-window layers that is the window and one batch.
  Recurrent layers have a state of fixed size for each slot instead.
- The prompt cache (``--cache-ram``) comes on top, as do the context checkpoints of models that cannot go back
  within their cache (sliding window, recurrent): up to ``--ctx-checkpoints`` for each slot, outside the prompt cache.

``plan`` is for one model, ``plan_models`` for several under llama-server's router, where each is a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

MIB = 1 << 20
CELL_PADDING = 256  # llama.cpp rounds the tokens of a slot up to this
LEAST_CONTEXT = 4096  # no agent works with fewer tokens, so none are proposed

# A setting with this value becomes the largest that fits.
AUTO = "auto"
AUTO_SETTINGS = ("context_size", "slots", "prompt_cache_mib")  # in the order in which they are decided
CONTEXT_STEP, PROMPT_CACHE_STEP = 1024, 256
MOST_SLOTS = 4  # of auto: more conversations at a time make each too slow on a CPU
USUAL_SLOTS = 2  # of auto, while the context is sought
CONVERSATION_MIB = 8192  # of auto: more of a prompt cache is not set aside while the context is sought

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
RECURRENT = ("mamba", "mamba2")
RECURRENT_BESIDE_ATTENTION = ("falcon-h1",)
FULL_ATTENTION_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}

# Only the first layers have a KV cache, and the others use theirs.
LAYERS_WITH_KV = {"gemma3n": 20}

CHOICES = {
    "cache_type_k": tuple(CACHE_TYPES),
    "cache_type_v": tuple(CACHE_TYPES),
    "flash_attention": ("auto", "on", "off"),
    "load_mode": ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"),
}

# Tensor types that llama.cpp repacks on one CPU or another.
REPACKED_TYPES = ("Q2_K", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4")

PROGRAM_BYTES = 128 * MIB  # program, tokenizer, threads' scratch: 60 to 80 MiB measured with 128k tokens
ROUTER_MIB = 128  # llama-server that has no model of its own
HEADROOM_SHARE, HEADROOM_MIB = 10, 512  # of MemoryMax above the estimate: a tenth, at least this

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
        "value_length",
        "value_length_swa",
        "vocab_size",
    }
)


@dataclass(frozen=True)
class Settings:
    """Settings of llama-server that decide about the memory of one model."""

    slots: int = 1
    context_size: int = 32768  # tokens for each slot
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    prompt_cache_mib: int = 8192  # what llama-server takes when told nothing
    context_checkpoints: int = 32  # for each slot; likewise
    ubatch: int = 512
    flash_attention: str = "auto"
    load_mode: str = "mmap"
    drafted_tokens: int = 0  # guessed at a time for each slot, by speculation; 0: there is none


@dataclass(frozen=True)
class Host:
    """What there is, and what of it is not for models."""

    host_memory_mib: int
    reserve_mib: int = 2048

    @property
    def available_mib(self) -> int:
        return self.host_memory_mib - self.reserve_mib


@dataclass(frozen=True)
class Layer:
    """What of a layer decides about memory. Its row is one token's keys and values of one head, in bytes."""

    kv_heads: int
    row: int
    windowed: bool
    recurrent: bool


LOWEST = {"slots": 1, "context_size": 1, "ubatch": 1, "host_memory_mib": 1}


def _check(values: Mapping[str, Any], where: str = "") -> None:
    for name, value in values.items():
        if name in CHOICES:
            if value not in CHOICES[name]:
                raise CopilotError(f"{where}{name} is {value!r}; give one of {', '.join(CHOICES[name])}.")
        elif isinstance(value, bool) or not isinstance(value, int) or value < LOWEST.get(name, 0):
            word = f" or {AUTO}" if name in AUTO_SETTINGS else ""
            raise CopilotError(f"{where}{name} is {value!r}; give a whole number of at least {LOWEST.get(name, 0)}{word}.")


def _read_host(host_memory_mib: Any, reserve_mib: Any) -> Host:
    _check({"host_memory_mib": host_memory_mib, "reserve_mib": reserve_mib})
    return Host(host_memory_mib, reserve_mib)


def _read_settings(values: Mapping[str, Any], where: str = "") -> tuple[Settings, frozenset[str]]:
    """The settings, and the names of those that are to be found; these have the least value."""
    unknown = sorted(values.keys() - {field.name for field in fields(Settings)})
    if unknown:
        known = ", ".join(field.name for field in fields(Settings))
        raise CopilotError(f"{where}there is no setting {', '.join(unknown)}; known are {known}.")
    auto = frozenset(name for name in AUTO_SETTINGS if values.get(name) == AUTO)
    least = {"context_size": LEAST_CONTEXT, "slots": 1, "prompt_cache_mib": 0}
    settings = Settings(**{**values, **{name: least[name] for name in auto}})
    _check(asdict(settings), where)
    return settings, auto


def _check_facts(gguf: Mapping[str, Any], where: str = "") -> None:
    missing = sorted(MODEL_FACTS - gguf.keys())
    if missing:
        raise CopilotError(f"{where}gguf has no {', '.join(missing)}; give the gguf dictionary that gguf_info returns.")


def _per_layer(value: Any, layers: int) -> list[int]:
    return list(value) if isinstance(value, list) else [value] * layers


def _windowed(gguf: Mapping[str, Any]) -> list[bool]:
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
    if not gguf["ssm"] and not gguf["shortconv_length"]:
        return [False] * layers
    if architecture in RECURRENT or architecture in RECURRENT_BESIDE_ATTENTION:
        return [True] * layers
    if architecture in FULL_ATTENTION_INTERVALS:
        if gguf["recurrent_layers"]:
            return [bool(item) for item in _per_layer(gguf["recurrent_layers"], layers)]
        interval = gguf["full_attention_interval"] or FULL_ATTENTION_INTERVALS[architecture]
        return [(layer + 1) % interval != 0 for layer in range(layers)]
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
    recurrent, windowed = _recurrent(gguf, heads), _windowed(gguf)
    with_kv = LAYERS_WITH_KV.get(gguf["architecture"], count - gguf["shared_kv_layers"])
    row, row_swa = _row_bytes(gguf, settings), _row_bytes(gguf, settings, "_swa")
    beside = gguf["architecture"] in RECURRENT_BESIDE_ATTENTION
    trunk = count - gguf["draft_layers"] if any(recurrent) else count
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


def _padded(tokens: int) -> int:
    return tokens + -tokens % CELL_PADDING


def _window(gguf: Mapping[str, Any], settings: Settings) -> int:
    """Tokens of a slot that are kept in layers with a sliding window."""
    return min(_padded(settings.context_size), _padded(gguf["sliding_window"] + settings.ubatch))


def _state_bytes(gguf: Mapping[str, Any]) -> int:
    """Of one conversation in one recurrent layer (32-bit values), whatever its length."""
    ssm = gguf["ssm"]
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


def _slot(gguf: Mapping[str, Any], settings: Settings) -> Slot:
    full, window = _padded(settings.context_size), _window(gguf, settings)
    layers = _layers(gguf, settings)
    windows = sum(layer.kv_heads * layer.row * window for layer in layers if layer.windowed)
    fulls = sum(layer.kv_heads * layer.row * full for layer in layers if not layer.windowed)
    state = _state_bytes(gguf) * sum(layer.recurrent for layer in layers)
    return Slot(windows + fulls, state, windows + state)


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
    attention = scores * _padded(settings.context_size)
    if any(_windowed(gguf)):  # they have a mask of their own
        attention += 2 * _window(gguf, settings)
    rows = settings.slots * (1 + settings.drafted_tokens)
    vocabulary = int(gguf["vocab_size"])
    scratch = max(settings.ubatch * (activations + attention), 4 * rows * (vocabulary + 4 * width))
    return scratch + 4 * rows * vocabulary + PROGRAM_BYTES


def _parts(gguf: Mapping[str, Any], settings: Settings) -> dict[str, int]:
    slot = _slot(gguf, settings)
    before_guesses = slot.state if settings.drafted_tokens else 0  # to go back to when a guess was wrong
    return {
        "weights": _weight_bytes(gguf, settings),
        "kv_cache": slot.kv_cache * settings.slots,
        "recurrent_state": slot.state * settings.slots,
        "checkpoints": (slot.checkpoint * settings.context_checkpoints + before_guesses) * settings.slots,
        "compute": _compute_bytes(gguf, settings),
        "prompt_cache": settings.prompt_cache_mib * MIB,
    }


def _mib(size: int) -> int:
    return -(-size // MIB)


def _total_mib(gguf: Mapping[str, Any], settings: Settings, **changes: Any) -> int:
    """Of one model, without the host's reserve."""
    return sum(map(_mib, _parts(gguf, replace(settings, **changes)).values()))


def _conversation_mib(gguf: Mapping[str, Any], settings: Settings) -> int:
    """Of a prompt cache that holds one conversation of full length: llama-server keeps no prompt that is larger."""
    slot = _slot(gguf, settings)
    size = _mib(slot.kv_cache + slot.state + slot.checkpoint * settings.context_checkpoints)
    return min(size + -size % PROMPT_CACHE_STEP, CONVERSATION_MIB)


def _filled(gguf: Mapping[str, Any], settings: Settings, auto: frozenset[str], available: int) -> Settings:
    """The settings with what is ``auto`` as large as fits: first the context, then the slots, then the prompt cache.

    While the first is sought the others count with what a team works well with: two slots, and a prompt cache for one
    conversation; where not even that fits, two slots; then one. What fits at no size keeps its least.
    """

    def trial(context: int, slots: int, keeps: bool) -> Settings:
        changed = replace(settings, context_size=context, slots=slots)
        if "prompt_cache_mib" in auto:
            changed = replace(changed, prompt_cache_mib=_conversation_mib(gguf, changed) if keeps else 0)
        return changed

    def fits(candidate: Settings) -> bool:
        return _total_mib(gguf, candidate) <= available

    def grown(context: int, slots: int, keeps: bool) -> Settings:
        if "slots" in auto:
            slots = next((more for more in range(MOST_SLOTS, slots, -1) if fits(trial(context, more, keeps))), slots)
        chosen = trial(context, slots, keeps)
        if "prompt_cache_mib" in auto:
            rest = available - _total_mib(gguf, chosen, prompt_cache_mib=0)
            chosen = replace(chosen, prompt_cache_mib=rest // PROMPT_CACHE_STEP * PROMPT_CACHE_STEP)
        return chosen

    contexts: Iterable[int] = (settings.context_size,)
    if "context_size" in auto:
        longest = gguf["context_length"] or settings.context_size
        contexts = (*range(longest // CONTEXT_STEP * CONTEXT_STEP, LEAST_CONTEXT, -CONTEXT_STEP), min(longest, LEAST_CONTEXT))
    for slots in (USUAL_SLOTS, 1) if "slots" in auto else (settings.slots,):
        for keeps in (True, False):
            found = next((context for context in contexts if fits(trial(context, slots, keeps))), 0)
            if found:
                return grown(found, slots, keeps)
    return settings


def _alternatives(gguf: Mapping[str, Any], settings: Settings, available: int) -> list[dict[str, Any]]:
    """Single changes that would make it fit, each as small as it can be."""

    def fits(change: dict[str, Any]) -> bool:
        return _total_mib(gguf, settings, **change) <= available

    lower = {
        "context_size": range(_padded(settings.context_size) - CELL_PADDING, LEAST_CONTEXT - 1, -CELL_PADDING),
        "slots": range(settings.slots - 1, 0, -1),
        "prompt_cache_mib": range(
            (settings.prompt_cache_mib - 1) // PROMPT_CACHE_STEP * PROMPT_CACHE_STEP, -1, -PROMPT_CACHE_STEP
        ),
        "context_checkpoints": range(settings.context_checkpoints - 1, -1, -1),
    }
    found: list[dict[str, Any]] = []
    for name, values in lower.items():
        value = next((value for value in values if fits({name: value})), None)
        if value is not None:
            found.append({name: value})
    larger_types = {"f32", "f16", "bf16"} & {settings.cache_type_k, settings.cache_type_v}
    lengths_allow = not any(gguf[name + suffix] % 32 for name in ("key_length", "value_length") for suffix in ("", "_swa"))
    smaller: dict[str, Any] = {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
    if larger_types and lengths_allow and settings.flash_attention != "off" and fits(smaller):
        found.append(smaller)
    return found


def _advice(gguf: Mapping[str, Any], settings: Settings, host: Host, alternatives: list[dict[str, Any]]) -> str:
    if alternatives:
        texts = [" and ".join(f"{name} {value}" for name, value in change.items()) for change in alternatives]
        return f"With one change it fits: {'; or '.join(texts)}."
    context = min(LEAST_CONTEXT, settings.context_size)
    least = replace(settings, slots=1, context_size=context, prompt_cache_mib=0, context_checkpoints=0)
    total = _total_mib(gguf, least) + host.reserve_mib
    if total <= host.host_memory_mib:
        return f"It takes several changes: 1 slot of {context} tokens without prompt cache and checkpoints takes {total} MiB."
    return f"Take a smaller model, or a host with at least {total} MiB, which is for 1 slot of {context} tokens."


def _arithmetic(gguf: Mapping[str, Any], settings: Settings, mib: Mapping[str, int]) -> str:
    slots = "1 slot" if settings.slots == 1 else f"{settings.slots} slots"
    per_token = kv_bytes_per_token(gguf, settings) / 1024
    terms = [f"weights {mib['weights']}"]
    if per_token or not mib["recurrent_state"]:
        size = f", sliding window {gguf['sliding_window']}" if any(_windowed(gguf)) else f" of {per_token:g} KiB"
        terms.append(f"KV cache {mib['kv_cache']} ({slots} of {settings.context_size} tokens{size})")
    if mib["recurrent_state"]:
        terms.append(f"recurrent state {mib['recurrent_state']} ({slots})")
    if mib["checkpoints"]:
        terms.append(f"checkpoints {mib['checkpoints']} ({settings.context_checkpoints} for each slot)")
    return " + ".join([*terms, f"compute {mib['compute']}", f"prompt cache {mib['prompt_cache']}"])


def _with_headroom(own: int, host: Host) -> int:
    """Of what the models take themselves, in MiB. The reserve stays the host's; what does not fit is not started anyway."""
    return min(own + max(own // HEADROOM_SHARE, HEADROOM_MIB), max(host.available_mib, own))


def _within_training(gguf: Mapping[str, Any], settings: Settings) -> Settings:
    """The settings with no longer a context than the model was trained for: llama-server serves none, and says so in its log."""
    longest = int(gguf["context_length"] or settings.context_size)
    return replace(settings, context_size=min(settings.context_size, longest))


def _warnings(asked: Settings, chosen: Settings, name: str = "the model") -> list[str]:
    if chosen.context_size >= asked.context_size:
        return []
    return [
        f"A context of {asked.context_size} tokens was asked for, but {name} was trained for {chosen.context_size}: each "
        f"conversation has {chosen.context_size}. Lower copilot_context_size, or take another model."
    ]


def plan(gguf: Mapping[str, Any], *, host_memory_mib: int, reserve_mib: int = 2048, **settings: Any) -> dict[str, Any]:
    """The memory plan for one model: the dict of ``_gguf.read``, and the fields of ``Host`` and ``Settings``.

    ``context_size``, ``slots`` and ``prompt_cache_mib`` may be ``auto``: the largest that fit, in this order.

    Returns ``settings`` as they are to be used; ``bytes`` and ``mib`` (each part rounded up) with the keys weights,
    kv_cache, recurrent_state, checkpoints, compute, prompt_cache, reserve, total and host_memory;
    ``kv_bytes_per_token``; ``fits``; ``alternatives``, each a dict of settings that would fit; ``memory_max_mib`` for
    systemd; ``explanation``, one line for people; and ``warnings``, about what was asked for and cannot be had: a context
    longer than the model was trained for. Raises CopilotError for settings out of range.
    """
    _check_facts(gguf)
    host = _read_host(host_memory_mib, reserve_mib)
    asked, auto = _read_settings(settings)
    least = _within_training(gguf, asked)
    chosen = _filled(gguf, least, auto, host.available_mib)
    parts = {**_parts(gguf, chosen), "reserve": host.reserve_mib * MIB}
    mib = {name: _mib(size) for name, size in parts.items()}
    mib["total"], mib["host_memory"] = sum(mib.values()), host.host_memory_mib
    missing = mib["total"] - host.host_memory_mib
    alternatives = _alternatives(gguf, chosen, host.available_mib) if missing > 0 else []
    sums = f"{_arithmetic(gguf, chosen, mib)} + reserve {host.reserve_mib} = {mib['total']} MiB"
    if missing > 0:
        verdict = f", but the host has {host.host_memory_mib} MiB: {missing} MiB too few. "
        verdict += _advice(gguf, chosen, host, alternatives)
    else:
        verdict = f" of {host.host_memory_mib} MiB: fits, {-missing} MiB stay free."
    return {
        "settings": asdict(chosen),
        "bytes": {**parts, "total": sum(parts.values()), "host_memory": host.host_memory_mib * MIB},
        "mib": mib,
        "kv_bytes_per_token": kv_bytes_per_token(gguf, chosen),
        "fits": missing <= 0,
        "alternatives": alternatives,
        "memory_max_mib": _with_headroom(mib["total"] - host.reserve_mib, host),
        "explanation": sums + verdict,
        "warnings": [] if "context_size" in auto else _warnings(asked, least),
    }


@dataclass(frozen=True)
class _Candidate:
    """One of several models."""

    name: str
    gguf: Mapping[str, Any]
    pinned: bool
    settings: Settings
    auto: frozenset[str]
    warnings: list[str]

    @property
    def own(self) -> int:
        return _total_mib(self.gguf, self.settings)


def _read_models(models: Iterable[Mapping[str, Any]]) -> list[_Candidate]:
    candidates: list[_Candidate] = []
    for model in models:
        rest = dict(model)
        name, gguf, pinned = str(rest.pop("name", "")), rest.pop("gguf", {}), rest.pop("pinned", False)
        if not name or name in [one.name for one in candidates]:
            raise CopilotError(f"model {len(candidates) + 1} has the name {name!r}; give each a name of its own.")
        _check_facts(gguf, f"{name}: ")
        try:
            asked, auto = _read_settings(rest)
            settings = _within_training(gguf, asked)
            warnings = [] if "context_size" in auto else _warnings(asked, settings, name)
            candidates.append(_Candidate(name, gguf, bool(pinned), settings, auto, warnings))
            kv_bytes_per_token(gguf, settings)
        except CopilotError as problem:
            raise CopilotError(f"{name}: {problem}") from None
    if not candidates:
        raise CopilotError("there are no models to plan for; give at least one.")
    return candidates


def _loaded_mib(candidates: list[_Candidate], count: int) -> int:
    """Of the pinned models and the largest others, ``count`` together, and the router."""
    others = sorted((one.own for one in candidates if not one.pinned), reverse=True)
    pinned = [one.own for one in candidates if one.pinned]
    return ROUTER_MIB + sum(pinned) + sum(others[: max(count - len(pinned), 0)])


def _most_loaded(candidates: list[_Candidate], available: int, limit: int) -> int:
    """How many can be loaded at once whichever they are, the pinned ones always. At least one is, or nothing works."""
    least = max(sum(one.pinned for one in candidates), 1)
    most = max(min(limit or len(candidates), len(candidates)), least)
    return next((count for count in range(most, least, -1) if _loaded_mib(candidates, count) <= available), least)


def _beside_pinned(one: _Candidate, candidates: list[_Candidate], host: Host) -> int:
    """What this one may take, in MiB."""
    return host.available_mib - ROUTER_MIB - sum(other.own for other in candidates if other.pinned and other.name != one.name)


def _verdict(candidates: list[_Candidate], count: int, host: Host) -> str:
    problems = []
    for one in candidates:
        free = _beside_pinned(one, candidates, host)
        if one.own > free:
            beside = " beside the pinned models" if any(other.pinned for other in candidates if other.name != one.name) else ""
            advice = _advice(one.gguf, one.settings, Host(free, 0), _alternatives(one.gguf, one.settings, free))
            problems.append(f"For {one.name} there are {free} MiB{beside}, {one.own - free} MiB too few. {advice}")
    if problems:
        return " ".join(problems)
    if count == len(candidates):
        return "All can be loaded at once."
    return f"{count} of {len(candidates)} can be loaded at once."


def plan_models(
    models: Iterable[Mapping[str, Any]], *, host_memory_mib: int, reserve_mib: int = 2048, most_loaded: int = 0
) -> dict[str, Any]:
    """The memory plan for several models under llama-server's router, which loads and unloads them on demand.

    Each model is a dict with ``name``, ``gguf`` (of ``_gguf.read``), ``pinned`` (always loaded), and any of the fields
    of ``Settings``. ``most_loaded`` says that no more than so many are to be loaded at once, though more would fit; 0
    means as many as fit. What is ``auto`` gets an equal share of what is left when as many as can be are loaded.

    Returns ``models``, by name: ``settings`` as they are to be used, ``mib`` (the parts and their total), ``pinned`` and
    ``fits`` (this one, beside the pinned ones); ``fits``, whether all of these do; ``most_loaded``, how many can be
    loaded at once, whichever they are; ``memory_max_mib`` for systemd; ``explanation`` for people; and ``warnings``, as
    ``plan`` has them.
    """
    host = _read_host(host_memory_mib, reserve_mib)
    _check({"most_loaded": most_loaded})
    candidates = _read_models(models)
    available = host.available_mib
    count = _most_loaded(candidates, available, most_loaded)
    share = max(available - _loaded_mib(candidates, count), 0) // count
    # What cannot be loaded at all is not to look worse for what it would have got.
    shares = [share if one.own <= _beside_pinned(one, candidates, host) else 0 for one in candidates]
    candidates = [
        replace(one, settings=_filled(one.gguf, one.settings, one.auto, one.own + extra))
        for one, extra in zip(candidates, shares)
    ]
    planned: dict[str, Any] = {}
    texts = []
    for one in candidates:
        mib = {name: _mib(size) for name, size in _parts(one.gguf, one.settings).items()}
        planned[one.name] = {
            "settings": asdict(one.settings),
            "mib": {**mib, "total": one.own},
            "pinned": one.pinned,
            "fits": one.own <= _beside_pinned(one, candidates, host),
        }
        texts.append(
            f"{one.name}{' (pinned)' if one.pinned else ''}: {_arithmetic(one.gguf, one.settings, mib)} = {one.own} MiB."
        )
    texts.append(f"The host has {host.host_memory_mib} MiB, less {host.reserve_mib} of reserve and {ROUTER_MIB} for the router.")
    return {
        "models": planned,
        "fits": all(model["fits"] for model in planned.values()),
        "most_loaded": count,
        "memory_max_mib": _with_headroom(_loaded_mib(candidates, count), host),
        "explanation": " ".join([*texts, _verdict(candidates, count, host)]),
        "warnings": [warning for one in candidates for warning in one.warnings],
    }
