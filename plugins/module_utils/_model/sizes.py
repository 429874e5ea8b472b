# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The facts of a model's header before it is downloaded, from the sizes in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.gguf import TENSOR_TYPES, active

NUMBERS = (
    *("layers", "embedding_length", "feed_forward_length", "heads", "kv_heads", "key_length", "vocab_size", "sliding_window"),
    *("expert_count", "expert_used_count", "expert_feed_forward_length"),
)
SSM = ("conv_kernel", "inner_size", "state_size", "time_step_rank", "group_count")
NEEDED = ("architecture", "layers", "embedding_length", "vocab_size", "tensor_type")
NUMBERS_OF_TYPES = {name: number for number, (name, _block, _bytes) in TENSOR_TYPES.items()}
TYPES = tuple(NUMBERS_OF_TYPES)


def sizes_problem(sizes: Any) -> str:
    """Returns the problem of a model's sizes; empty if there is none."""
    if not isinstance(sizes, Mapping):
        return "give a mapping, such as {architecture: llama, layers: 32}, with the names that gguf_info returns"
    known = (*NEEDED, *NUMBERS, "ssm", "tied_embeddings", "dense_type")
    unknown = [str(name) for name in sizes if name not in known]
    if unknown:
        return f"there is no {', '.join(unknown)}; known are {', '.join(dict.fromkeys(known))}"
    missing = [name for name in NEEDED if name not in sizes]
    if missing:
        return f"give {', '.join(missing)}, too"
    for name in ("tensor_type", "dense_type"):
        if sizes.get(name, TYPES[0]) not in TYPES:
            return f"{name} is {sizes[name]!r}; give one of {', '.join(TYPES)}"
    ssm = sizes.get("ssm", {})
    if not isinstance(ssm, Mapping) or set(ssm) - set(SSM):
        return f"ssm has {', '.join(SSM)}"
    numbers = {name: sizes[name] for name in NUMBERS if name in sizes} | dict(ssm)
    wrong = [name for name, value in numbers.items() if isinstance(value, bool) or not isinstance(value, int) or value < 0]
    return f"{', '.join(wrong)} must be whole numbers" if wrong else ""


def _parameters(facts: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of weights of each part, biases and norms left out."""
    width, layers, ssm = facts["embedding_length"], facts["layers"], facts["ssm"]
    queries, keys = facts["heads"] * facts["key_length"], facts["kv_heads"] * facts["key_length"]
    mixer = 2 * width * queries + 2 * width * keys
    if ssm:
        convolution = ssm["inner_size"] + 2 * ssm["group_count"] * ssm["state_size"]
        mixer = width * (2 * ssm["inner_size"] + convolution + ssm["time_step_rank"])
    experts = 3 * width * facts["expert_feed_forward_length"] * facts["expert_count"]
    dense = width * facts["expert_count"] if experts else 3 * width * facts["feed_forward_length"]
    vocabulary = width * facts["vocab_size"]
    return {
        "experts": layers * experts,
        "embedding": vocabulary,
        "output": 0 if facts["tied_embeddings"] else vocabulary,
        "others": layers * (mixer + dense),
    }


def _bytes(parameters: Mapping[str, int], facts: Mapping[str, Any], size: int) -> list[float]:
    """Returns how many bytes each part has. All have as many bits, unless what is no expert has a type of its own."""
    if "dense_type" not in facts:
        return [size / sum(parameters.values()) * weights for weights in parameters.values()]
    _name, block, block_bytes = TENSOR_TYPES[NUMBERS_OF_TYPES[facts["dense_type"]]]
    dense = {name: weights / block * block_bytes for name, weights in parameters.items()}
    return [size - sum(dense.values()) + dense["experts"] if name == "experts" else dense[name] for name in parameters]


def facts_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the facts of a model that the memory plan and the expected speed need, as its header would have them.

    :param entry: of the catalogue, with ``sizes`` and ``size_gb``.
    """
    sizes = dict(entry["sizes"])
    problem = sizes_problem(sizes)
    if problem:
        raise CopilotError(f"sizes: {problem}.")
    facts = {**dict.fromkeys(NUMBERS, 0), "ssm": {}, "tied_embeddings": False, **sizes}
    facts["kv_heads"] = facts["kv_heads"] or facts["heads"]
    if facts["heads"] and not facts["key_length"]:
        facts["key_length"] = facts["embedding_length"] // facts["heads"]
    parameters = _parameters(facts)
    size = round(entry["size_gb"] * 1e9)
    parts = {name: (weights, round(of)) for (name, weights), of in zip(parameters.items(), _bytes(parameters, facts, size))}
    return {
        **facts,
        **{name: facts["key_length"] for name in ("value_length", "key_length_swa", "value_length_swa")},
        **{"context_length": entry.get("context_length", 0), "latent_attention": False, "shared_kv_layers": 0},
        **{"sliding_window_pattern": None, "recurrent_layers": [], "full_attention_interval": 0, "shortconv_length": 0},
        **{"wkv_head_size": 0, "token_shift_count": 2, "kda_head_size": 0, "draft_layers": 0},
        **{"tensor_bytes": size, "tensor_types": {facts["tensor_type"]: size}, "parameters": sum(parameters.values())},
        **active(parts, facts["expert_count"], facts["expert_used_count"]),
    }
