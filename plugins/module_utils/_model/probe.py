# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small generated models to measure a host's speed before it has a real one.

Their weights are zeros in a sparse file, which takes no disk space. Computing with zeros takes as long as with other values.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ansible_collections.slm.copilot.plugins.module_utils._model.gguf import DEFAULT_ALIGNMENT, MAGIC, STRING, TENSOR_TYPES
from ansible_collections.slm.copilot.plugins.module_utils._model.sizes import NUMBERS_OF_TYPES

TOKENS = 256  # of the vocabulary, which has no words
_UINT32, _FLOAT32 = 4, 6


@dataclass(frozen=True)
class Probe:
    """A model of the architecture llama."""

    layers: int
    width: int
    feed_forward: int
    weights: str = "F16"
    heads: int = 32
    kv_heads: int = 8
    head: int = 128

    def tensors(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Returns name, sizes and type of each."""
        queries, keys, kind = self.heads * self.head, self.kv_heads * self.head, self.weights
        found: list[tuple[str, tuple[int, ...], str]] = [("token_embd.weight", (self.width, TOKENS), kind)]
        for layer in range(self.layers):
            sizes: dict[str, tuple[int, ...]] = {
                **{"attn_q": (self.width, queries), "attn_k": (self.width, keys), "attn_v": (self.width, keys)},
                **{"attn_output": (queries, self.width), "ffn_gate": (self.width, self.feed_forward)},
                **{"ffn_up": (self.width, self.feed_forward), "ffn_down": (self.feed_forward, self.width)},
                **{"attn_norm": (self.width,), "ffn_norm": (self.width,)},
            }
            found += [(f"blk.{layer}.{name}.weight", size, kind if len(size) > 1 else "F32") for name, size in sizes.items()]
        return [*found, ("output_norm.weight", (self.width,), "F32"), ("output.weight", (self.width, TOKENS), kind)]

    @property
    def active(self) -> tuple[int, int]:
        """The weights that work on a token, and their bytes. Of the embedding it needs one row."""
        found = [(prod(sizes), kind) for name, sizes, kind in self.tensors() if len(sizes) > 1 and name != "token_embd.weight"]
        blocks = {name: (block, size) for name, block, size in TENSOR_TYPES.values()}
        return sum(count for count, _kind in found), sum(count // blocks[kind][0] * blocks[kind][1] for count, kind in found)

    @property
    def computed_in_prompts(self) -> int:
        """The weights that each token of a prompt is computed with: in the last layer only those before attention."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        attends = self.width * (queries + 2 * keys)
        return self.layers * attends + (self.layers - 1) * (queries * self.width + 3 * self.width * self.feed_forward)

    @property
    def kv_bytes_per_token(self) -> int:
        """Of 16-bit keys and values."""
        return self.layers * 2 * self.kv_heads * self.head * 2


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _entry(key: str, value: str | int | float) -> bytes:
    if isinstance(value, str):
        return _text(key) + struct.pack("<I", STRING) + _text(value)
    kind, layout = (_FLOAT32, "<If") if isinstance(value, float) else (_UINT32, "<II")
    return _text(key) + struct.pack(layout, kind, value)


def _metadata(probe: Probe) -> Mapping[str, str | int | float]:
    return {
        "general.architecture": "llama",
        "general.name": "probe",
        "llama.context_length": 8192,
        "llama.block_count": probe.layers,
        "llama.embedding_length": probe.width,
        "llama.feed_forward_length": probe.feed_forward,
        "llama.attention.head_count": probe.heads,
        "llama.attention.head_count_kv": probe.kv_heads,
        "llama.attention.key_length": probe.head,
        "llama.attention.value_length": probe.head,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": probe.head,
        "llama.vocab_size": TOKENS,
        "tokenizer.ggml.model": "no_vocab",
    }


def write_probe(path: str, probe: Probe) -> None:
    """Writes the model to a new file."""
    tensors, metadata = probe.tensors(), _metadata(probe)
    parts = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    parts += [_entry(key, value) for key, value in metadata.items()]
    offset = 0
    for name, sizes, kind in tensors:
        number = NUMBERS_OF_TYPES[kind]
        _name, block, block_bytes = TENSOR_TYPES[number]
        parts.append(_text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, number, offset))
        offset += prod(sizes) // block * block_bytes
        offset += -offset % DEFAULT_ALIGNMENT
    header = b"".join(parts)
    with open(path, "xb") as file:
        file.write(header)
        os.truncate(file.fileno(), len(header) + -len(header) % DEFAULT_ALIGNMENT + offset)
