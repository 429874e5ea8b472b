# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The expected speed of a model on a host, calculated from measurements with small probes.

Generating a token reads all weights that are used for it once, and the keys and values of all tokens before it. A prompt is
processed in batches, so arithmetic is the limit: each weight once per token, and attention for each pair of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.gguf import TENSOR_TYPES
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.layers import kv_bytes_per_token, windowed_layers
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import Settings
from ansible_collections.slm.copilot.plugins.module_utils._model.probe import Probe

VERSION = 1  # of the file that keeps what was measured

# What is said of a model, besides its speeds: a prompt of this length from nothing; and a turn that brings new tokens to a
# conversation of this length, and gets an edit.
LONG_PROMPT = 20_000
TURN_PROMPT, TURN_GENERATED = 1024, 256
# llama-bench's usual prompt; and so the figures are its own.
SHORT_PROMPT = 512

# Larger than a processor's cache, as the model will be; and one that does little but attend.
WEIGHTS_PROMPT, WEIGHTS_GENERATED = 256, 24
ATTENTION = Probe(layers=8, width=256, feed_forward=256, heads=8, kv_heads=2)
ATTENTION_PROMPT, ATTENTION_GENERATED = 1024, 32

# Of a file of which nothing is known but its size: as in Q4_K_M, the usual one.
USUAL_TYPE, USUAL_BITS = "Q4_K", 4.85

# Of the time that a probe of weights takes, no less than this is theirs, whatever was measured of attention.
LEAST_WEIGHTS = 0.7

# Runs llama-bench with a probe: tokens of the prompt, generated ones, and those that are in the cache before. Returns tokens a
# second as ``prompt`` and ``generated``, as far as there are any.
Bench = Callable[[Probe, int, int, int], Mapping[str, float]]


@dataclass(frozen=True)
class TypeSpeed:
    """With weights of one type.

    :param prompt: weights that are computed with, a second. One weight for two tokens counts twice.
    :param generated: bytes of weights that are read, a second.
    """

    prompt: float
    generated: float


@dataclass(frozen=True)
class HostSpeed:
    """The measured speeds of a host with the probes.

    :param types: by the type of the weights.
    :param attention_prompt: in prompts, products of a query's value with that of a key, and likewise for values, a second.
    :param attention_generated: bytes of keys and values that are read to generate a token, a second.
    :param layer_seconds: what each layer takes for a token besides.
    """

    types: Mapping[str, TypeSpeed]
    attention_prompt: float
    attention_generated: float
    layer_seconds: float


@dataclass(frozen=True)
class Expected:
    """The expected speed of a model, in tokens per second and in seconds."""

    prompt: float
    generated: float
    long_prompt_seconds: float
    warm_turn_seconds: float


def weights_probe(kind: str) -> Probe:
    """Returns a model whose rows are as wide as those of one of 7 billion weights."""
    return Probe(layers=2, width=4096, feed_forward=4096, weights=kind)


def measured(bench: Bench, types: Iterable[str]) -> HostSpeed:
    """Returns the speed of this host.

    :param types: those of weights to measure.
    :raises CopilotError: when llama-bench has no figures.
    """

    def figures(probe: Probe, prompt: int, generated: int, depth: int) -> Mapping[str, float]:
        found = bench(probe, prompt, generated, depth)
        if not all(found.get(kind, 0) > 0 for kind, count in (("prompt", prompt), ("generated", generated)) if count):
            raise CopilotError("llama-bench returned no results for a probe; run it by hand to see why.")
        return found

    short = figures(ATTENTION, ATTENTION_PROMPT, ATTENTION_GENERATED, 0)
    deep = figures(ATTENTION, 0, ATTENTION_GENERATED, ATTENTION_PROMPT)
    products = _products(ATTENTION.layers * ATTENTION.heads * ATTENTION.head, ATTENTION_PROMPT / 2)
    attention = products * short["prompt"]
    longer = 1 / deep["generated"] - 1 / short["generated"]
    found = {}
    for kind in types:
        probe = weights_probe(kind)
        _weights, size = probe.active
        speeds = figures(probe, WEIGHTS_PROMPT, WEIGHTS_GENERATED, 0)
        attends = _products(probe.layers * probe.heads * probe.head, WEIGHTS_PROMPT / 2) / attention
        seconds = max(1 / speeds["prompt"] - attends, LEAST_WEIGHTS / speeds["prompt"])
        found[kind] = TypeSpeed(probe.computed_in_prompts / seconds, size * speeds["generated"])
    return HostSpeed(
        types=found,
        attention_prompt=attention,
        attention_generated=ATTENTION.kv_bytes_per_token * ATTENTION_PROMPT / max(longer, 1e-6),
        layer_seconds=1 / short["generated"] / ATTENTION.layers,
    )


def write_speed(speed: HostSpeed, identity: Mapping[str, Any]) -> str:
    """Returns the content of the file with the measured speed and what was measured."""
    return json.dumps({"version": VERSION, "identity": dict(identity), **asdict(speed)}, indent=2, sort_keys=True) + "\n"


def read_speed(text: str, identity: Mapping[str, Any] | None = None) -> HostSpeed | None:
    """Returns the speed in such a file; None if it is invalid, or of another engine or processor.

    :param identity: what it must be of; None: anything.
    """
    try:
        content = json.loads(text)
        return speed_of(content) if identity is None or content["identity"] == identity else None
    except (ValueError, KeyError, TypeError):
        return None


def speed_of(content: Mapping[str, Any]) -> HostSpeed | None:
    """Returns the content of such a file; None where it is none."""
    try:
        if content["version"] != VERSION:
            return None
        types = {str(kind): TypeSpeed(float(one["prompt"]), float(one["generated"])) for kind, one in content["types"].items()}
        rest = (float(content[name]) for name in ("attention_prompt", "attention_generated", "layer_seconds"))
        return HostSpeed(types, *rest) if types else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _bits(kind: str) -> float:
    return next((8 * size / block for name, block, size in TENSOR_TYPES.values() if name == kind), 0.0)


def _of_type(speed: HostSpeed, tensor_types: Mapping[str, int]) -> TypeSpeed:
    """That of the type of most bytes; where it was not measured, that of the one with the nearest number of bits."""
    kind = max(tensor_types, key=tensor_types.__getitem__)
    return speed.types[min(speed.types, key=lambda one: (one != kind, abs(_bits(one) - _bits(kind))))]


def _products(queries: float, depth: float) -> float:
    """Of one token: each value of its queries with those of the keys before it, and the same for the values."""
    return 2.0 * queries * depth


def expected(gguf: Mapping[str, Any], speed: HostSpeed) -> Expected:
    """Returns the expected speed of a model on a host, with 16-bit keys and values and without speculation.

    :param gguf: the facts of the model's header.
    """
    of_type, layers = _of_type(speed, gguf["tensor_types"]), gguf["layers"]
    heads = gguf["heads"] if isinstance(gguf["heads"], list) else [gguf["heads"]] * layers
    key_values = gguf["kv_heads"] if isinstance(gguf["kv_heads"], list) else [gguf["kv_heads"]] * layers
    queries = [own * gguf["key_length"] if shared else 0 for own, shared in zip(heads, key_values)]
    windowed = windowed_layers(gguf)
    each_kv = kv_bytes_per_token(gguf, Settings()) / max(1, sum(map(bool, key_values)))

    def depth_in(layer: int, depth: float) -> float:
        return min(depth, gguf["sliding_window"]) if windowed[layer] else depth

    def prompt_seconds(tokens: int, depth: int) -> float:
        weights = tokens * (gguf["active_parameters"] - gguf["output_parameters"])
        pairs = sum(_products(queries[layer], depth_in(layer, depth + tokens / 2)) for layer in range(layers))
        return float(weights / of_type.prompt + tokens * pairs / speed.attention_prompt)

    def token_seconds(depth: int) -> float:
        kept = sum(each_kv * depth_in(layer, depth) for layer in range(layers) if key_values[layer])
        read = gguf["active_bytes"] / of_type.generated + kept / speed.attention_generated
        return float(read + layers * speed.layer_seconds)

    return Expected(
        prompt=SHORT_PROMPT / prompt_seconds(SHORT_PROMPT, 0),
        generated=1 / token_seconds(0),
        long_prompt_seconds=prompt_seconds(LONG_PROMPT, 0),
        warm_turn_seconds=prompt_seconds(TURN_PROMPT, LONG_PROMPT) + TURN_GENERATED * token_seconds(LONG_PROMPT),
    )


def expected_of_size(size: float, speed: HostSpeed) -> Expected:
    """Estimates the speed of a model from its file size only, as if each token used all weights and nothing else took time.

    :param size: in bytes.
    """
    of_type = _of_type(speed, {USUAL_TYPE: 1})
    prompt, generated = of_type.prompt / (8 * size / USUAL_BITS), of_type.generated / size
    return Expected(prompt, generated, LONG_PROMPT / prompt, TURN_PROMPT / prompt + TURN_GENERATED / generated)
