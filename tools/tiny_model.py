# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes a random-weight GGUF model for tests and benchmarks: real architecture, real tokenizer, meaningless text.

The tokenizer is taken from a vocabulary-only GGUF (llama.cpp ships them as models/ggml-vocab-*.gguf). The same
arguments give the same bytes, so a sha256 of the result can be pinned. Needs numpy, nothing else.

    tools/tiny_model.py --vocab ggml-vocab-llama-bpe.gguf --output tiny.gguf
    tools/tiny_model.py --vocab ggml-vocab-llama-bpe.gguf --shape 1.5b --output bench-f16.gguf
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

ALIGNMENT = 32
PIECE = 1 << 24  # weights that are made at a time; a multiple of 4 in every tensor
TYPE_F32, TYPE_F16 = 0, 1
FILE_TYPE_F16 = 1
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
VALUE_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
NORMAL_TOKEN = 1  # of tokenizer.ggml.token_type; the others are control tokens, bytes and holes

EMBEDDING, OUTPUT_NORM, WRITERS = "token_embd.weight", "output_norm.weight", (".attn_output.weight", ".ffn_down.weight")

# The first value of each embedding is no noise but says how welcome the token is in an answer: syllables are, what
# closes a text or a JSON string a little more. So answers can be read, and end after a few dozen tokens; with noise
# alone they would run to the end of the context. No layer writes to that value, and the last norm amplifies it.
SYLLABLE = re.compile(rb"(\xc4\xa0|\xe2\x96\x81)?[a-z]{1,4}")  # the tokenizers' two marks for a space
WELCOME, WELCOME_SYLLABLE, WELCOME_END, WELCOME_GAIN = 0.3, 0.65, 0.72, 120.0

# ChatML, with the tools offered, the tools called and what they returned.
CHAT_TEMPLATE = """\
{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}{%- for part in content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if messages and messages[0].role == 'system' -%}
{%- set instructions = text(messages[0].content) -%}{%- set turns = messages[1:] -%}
{%- else -%}
{%- set instructions = '' -%}{%- set turns = messages -%}
{%- endif -%}
{%- if instructions or tools -%}
{{- '<|im_start|>system\\n' + instructions -}}
{%- if tools -%}
{{- '\\n\\nTools that you can call, one JSON object on each line:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
{{- '\\n</tools>\\nTo call one, answer:\\n<tool_call>\\n{"name": "the name", "arguments": {}}\\n</tool_call>' -}}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for turn in turns -%}
{%- if turn.role == 'tool' -%}
{{- '<|im_start|>tool\\n<tool_response>\\n' + text(turn.content) + '\\n</tool_response><|im_end|>\\n' -}}
{%- else -%}
{{- '<|im_start|>' + turn.role + '\\n' + text(turn.content) -}}
{%- for call in turn.tool_calls or [] -%}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments if call.function.arguments is string else (call.function.arguments | tojson) -}}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


@dataclass(frozen=True)
class Shape:
    """Sizes of a llama-architecture model; lengths and widths are counts of tokens or values."""

    layers: int
    embedding: int
    heads: int
    kv_heads: int
    head_size: int
    feed_forward: int
    context: int


SHAPES = {
    "tiny": Shape(layers=4, embedding=64, heads=4, kv_heads=2, head_size=32, feed_forward=128, context=32768),
    # The sizes of Qwen2.5-Coder-1.5B; every row is a multiple of 256, so that K-quants apply to all of it.
    "1.5b": Shape(layers=28, embedding=1536, heads=12, kv_heads=2, head_size=128, feed_forward=8960, context=32768),
}


@dataclass(frozen=True)
class Tensor:
    """One tensor to write. ``spread`` is the standard deviation of its values, 0 stands for all ones."""

    name: str
    rows: int
    columns: int
    spread: float

    @property
    def dimensions(self) -> tuple[int, ...]:
        """As GGUF has them: the contiguous one first."""
        return (self.columns,) if self.spread == 0 else (self.columns, self.rows)

    @property
    def type(self) -> int:
        return TYPE_F32 if self.spread == 0 else TYPE_F16

    @property
    def nbytes(self) -> int:
        return self.rows * self.columns * (4 if self.type == TYPE_F32 else 2)


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer of another GGUF: its metadata entries as they lie there, and how welcome each token is."""

    entries: list[bytes]
    welcome: np.ndarray

    @property
    def size(self) -> int:
        return len(self.welcome)


def padding(size: int) -> int:
    return -size % ALIGNMENT


def packed_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def packed_entry(key: str, value: str | int | float) -> bytes:
    kind = {str: STRING, int: UINT32, float: FLOAT32, bool: BOOL}[type(value)]
    body = packed_string(value) if isinstance(value, str) else struct.pack("<" + VALUE_FORMATS[kind], value)
    return packed_string(key) + struct.pack("<I", kind) + body


def read_value(data: bytes, at: int, kind: int) -> tuple[object, int]:
    """The metadata value at an offset, and the offset after it."""
    if kind == STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        return data[at + 8 : at + 8 + length], at + 8 + length
    if kind == ARRAY:
        item, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if item in VALUE_FORMATS:
            values = struct.unpack_from(f"<{count}{VALUE_FORMATS[item]}", data, at)
            return values, at + count * struct.calcsize("<" + VALUE_FORMATS[item])
        items = []
        for _each in range(count):
            value, at = read_value(data, at, item)
            items.append(value)
        return items, at
    layout = "<" + VALUE_FORMATS[kind]
    return struct.unpack_from(layout, data, at)[0], at + struct.calcsize(layout)


def read_vocabulary(path: Path) -> Vocabulary:
    data = path.read_bytes()
    if data[:4] != b"GGUF":
        raise ValueError(f"{path} is no GGUF file; give a vocabulary such as ggml-vocab-llama-bpe.gguf")
    entries, values = [], {}
    try:
        (count,) = struct.unpack_from("<Q", data, 16)
        at = 24
        for _each in range(count):
            start = at
            key, at = read_value(data, at, STRING)
            (kind,) = struct.unpack_from("<I", data, at)
            value, at = read_value(data, at + 4, kind)
            if key.startswith(b"tokenizer.") and key != b"tokenizer.chat_template":
                entries.append(data[start:at])
                values[key.decode()] = value
    except (struct.error, KeyError):
        raise ValueError(f"{path} is cut or corrupt; take it again from llama.cpp's models folder") from None
    tokens = values.get("tokenizer.ggml.tokens")
    end = values.get("tokenizer.ggml.eos_token_id")
    if not tokens or end is None:
        raise ValueError(f"{path} has no tokens or no end token; give a vocabulary such as ggml-vocab-llama-bpe.gguf")
    if values.get("tokenizer.ggml.model") == b"llama":
        # Without it the first token of an answer's grammar has a space that the chat template has not.
        entries = [entry for entry in entries if b"add_space_prefix" not in entry[:64]]
        entries.append(packed_entry("tokenizer.ggml.add_space_prefix", False))
    types = values.get("tokenizer.ggml.token_type") or [NORMAL_TOKEN] * len(tokens)
    welcome = np.full(len(tokens), WELCOME)
    for token, (text, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind == NORMAL_TOKEN and SYLLABLE.fullmatch(text):
            welcome[token] = WELCOME_SYLLABLE
        elif token == end or text == b'"':
            welcome[token] = WELCOME_END
    return Vocabulary(entries, welcome)


def tensors_of(shape: Shape, vocabulary_size: int) -> list[Tensor]:
    """The output matrix is the embedding one, as in small models: half the bytes for a large vocabulary."""
    width, query, kv = shape.embedding, shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    tensors = [Tensor(EMBEDDING, vocabulary_size, width, 1 / width**0.5)]
    for layer in range(shape.layers):
        for name, rows, columns in (
            ("attn_norm", 1, width),
            ("attn_q", query, width),
            ("attn_k", kv, width),
            ("attn_v", kv, width),
            ("attn_output", width, query),
            ("ffn_norm", 1, width),
            ("ffn_gate", shape.feed_forward, width),
            ("ffn_up", shape.feed_forward, width),
            ("ffn_down", width, shape.feed_forward),
        ):
            # Each row sums to variance one, so that values neither vanish nor explode over the layers.
            spread = 0.0 if name.endswith("_norm") else 1 / columns**0.5
            tensors.append(Tensor(f"blk.{layer}.{name}.weight", rows, columns, spread))
    return [*tensors, Tensor(OUTPUT_NORM, 1, width, 0.0)]


def metadata_of(shape: Shape, vocabulary: Vocabulary, name: str) -> list[bytes]:
    own = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": name,
        "general.file_type": FILE_TYPE_F16,
        "general.quantization_version": 2,
        "llama.vocab_size": vocabulary.size,
        "llama.context_length": shape.context,
        "llama.block_count": shape.layers,
        "llama.embedding_length": shape.embedding,
        "llama.feed_forward_length": shape.feed_forward,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.key_length": shape.head_size,
        "llama.attention.value_length": shape.head_size,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.head_size,
        "llama.rope.freq_base": 500000.0,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }
    return [packed_entry(key, value) for key, value in own.items()] + vocabulary.entries


def weights(tensor: Tensor, vocabulary: Vocabulary, source: np.random.PCG64) -> Iterator[np.ndarray]:
    """Uniform values, some 64 MB at a time. Raw generator output, as numpy keeps only that stable for good."""
    if tensor.spread == 0:
        ones = np.ones((1, tensor.columns), "<f4")
        if tensor.name == OUTPUT_NORM:
            ones[0, 0] = WELCOME_GAIN
        yield ones
        return
    step = max(1, PIECE // tensor.columns)
    for start in range(0, tensor.rows, step):
        rows = min(step, tensor.rows - start)
        count = rows * tensor.columns
        raw = source.random_raw((count + 3) // 4).astype("<u8").view("<u2")[:count]
        values = (raw.astype(np.float32) - 32767.5) * np.float32(tensor.spread * 3**0.5 / 32768)
        values = values.reshape(rows, tensor.columns)
        if tensor.name == EMBEDDING:
            welcome = vocabulary.welcome[start : start + rows]
            values[:, 0] = welcome
            values[welcome == WELCOME_END, 1:] = 0  # its chance must not hang on the seed
        elif tensor.name.endswith(WRITERS) and start == 0:
            values[0] = 0
        yield values.astype("<f2")


def write_model(out: BinaryIO, shape: Shape, vocabulary: Vocabulary, seed: int, name: str) -> None:
    metadata = metadata_of(shape, vocabulary, name)
    tensors = tensors_of(shape, vocabulary.size)
    out.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    out.writelines(metadata)
    offset = 0
    for tensor in tensors:
        sizes = tensor.dimensions
        out.write(packed_string(tensor.name) + struct.pack("<I", len(sizes)))
        out.write(struct.pack(f"<{len(sizes)}QIQ", *sizes, tensor.type, offset))
        offset += tensor.nbytes + padding(tensor.nbytes)
    out.write(bytes(padding(out.tell())))
    source = np.random.PCG64(seed)
    for tensor in tensors:
        for rows in weights(tensor, vocabulary, source):
            out.write(rows.tobytes())
        out.write(bytes(padding(tensor.nbytes)))


def write_file(output: Path, shape: Shape, vocabulary: Vocabulary, seed: int, name: str) -> None:
    """The name appears only with the whole file behind it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            write_model(out, shape, vocabulary, seed, name)
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, output)
    except BaseException:
        os.unlink(unfinished)
        raise


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=Path, required=True, help="GGUF file to take the tokenizer from")
    parser.add_argument("--output", type=Path, required=True, help="GGUF file to write")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny", help="size of the model (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other weights for another number (default: %(default)s)")
    parser.add_argument("--name", help="general.name in the file (default: slm-copilot-SHAPE)")
    chosen = parser.parse_args(arguments)
    try:
        vocabulary = read_vocabulary(chosen.vocab)
        name = chosen.name or f"slm-copilot-{chosen.shape}"
        write_file(chosen.output, SHAPES[chosen.shape], vocabulary, chosen.seed, name)
    except (OSError, ValueError) as error:
        print(f"tiny_model: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.output}: {chosen.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
