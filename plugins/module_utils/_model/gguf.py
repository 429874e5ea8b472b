# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the header of a GGUF model file, without its weights.

A file is: magic, version, counts; metadata (key, type, value); one description for each tensor; then, aligned, the
tensors' bytes. Numbers are little-endian. Only the part before the tensors' bytes is read.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

# Metadata value types: number -> (struct format, bytes).
SCALARS = {
    0: ("<B", 1),
    1: ("<b", 1),
    2: ("<H", 2),
    3: ("<h", 2),
    4: ("<I", 4),
    5: ("<i", 4),
    6: ("<f", 4),
    7: ("<?", 1),
    10: ("<Q", 8),
    11: ("<q", 8),
    12: ("<d", 8),
}
STRING, ARRAY = 8, 9

# Tensor types: number -> (name, values in a block, bytes of a block).
TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}

# general.file_type: what the quantising tool was asked for.
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}

# A corrupt count or length must neither fill the memory nor take for ever. Real files stay far below these.
MAX_METADATA = 1 << 16
MAX_TENSOR_TYPE = 1000  # llama.cpp has some forty
MAX_TENSORS = 1 << 20
MAX_ITEMS = 1 << 24
MAX_STRING = 1 << 24
MAX_DIMENSIONS = 4
MAX_NESTING = 4
MAX_ALIGNMENT = 1 << 20
MAX_BYTES = 1 << 63
KEPT_ITEMS = 4096  # longer arrays are vocabularies: only their length is wanted

# llama-server takes a draft model whose tokens differ in number by no more, and not in content from this one on.
MOST_OTHER_TOKENS, FIRST_COMPARED_TOKEN = 128, 5
_TOKENS = "tokenizer.ggml.tokens"

CHUNK = 1 << 20
MERGE_PARTS = "merge them with llama-gguf-split --merge, and serve the one file that it makes from the controller or a web server"
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf")
DOWNLOAD_AGAIN = "delete it and download it again"
OTHER_FILE = "choose the file of a language model, not its vocabulary or projector alone"

_LENGTH = struct.Struct("<Q")


class _Cut(Exception):
    """The file ends before its header does."""


class _Corrupt(Exception):
    """The header is invalid."""


class _Unknown(Exception):
    """The file may be complete, but has an unknown type."""


class UnknownTypeError(CopilotError):
    """A file that may be good, but that this version does not support. Downloading it again would not help."""


class _Source:
    """Reads a file forward through a small window. ``position`` is the offset of the next byte."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._window = b""
        self._start = 0
        self.position = 0

    def _window_at(self, position: int, wanted: int) -> None:
        if position + wanted > self._size:
            raise _Cut
        self._file.seek(position)
        self._window = self._file.read(max(wanted, CHUNK))
        self._start = position
        if len(self._window) < wanted:  # the file has become shorter meanwhile
            raise _Cut

    def take(self, count: int) -> bytes:
        at = self.position - self._start
        if at + count > len(self._window):
            self._window_at(self.position, count)
            at = 0
        self.position += count
        return self._window[at : at + count]

    def skip(self, count: int) -> None:
        self.position += count
        if self.position > self._size:
            raise _Cut
        if self.position > self._start + len(self._window):
            self._window, self._start = b"", self.position

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def string(self) -> str:
        length = self.number("<Q")
        if length > MAX_STRING:
            raise _Corrupt(f"a text of {length} bytes at byte {self.position - 8}")
        return self.take(length).decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        """A vocabulary has hundreds of thousands of strings: this loop is what the time goes into."""
        read_length = _LENGTH.unpack_from
        window, start = self._window, self._start
        at, last = self.position - start, len(window) - 8
        for _each in range(count):
            if at > last:
                self._window_at(start + at, 8)
                window, start = self._window, self._start
                at, last = 0, len(window) - 8
            length = read_length(window, at)[0]
            if length > MAX_STRING:
                raise _Corrupt(f"a text of {length} bytes at byte {start + at}")
            at += 8 + length
        self.position = start
        self.skip(at)


class _Items(int):
    """The length of an array whose items were not kept."""


def _value(source: _Source, kind: int, depth: int = 0) -> Any:
    if kind in SCALARS:
        return source.number(SCALARS[kind][0])
    if kind == STRING:
        return source.string()
    if kind != ARRAY:
        raise _Corrupt(f"metadata of the unknown type {kind} at byte {source.position}")
    if depth == MAX_NESTING:
        raise _Corrupt(f"arrays within arrays at byte {source.position}")
    item, count = source.number("<I"), source.number("<Q")
    if count > MAX_ITEMS:
        raise _Corrupt(f"an array of {count} items at byte {source.position - 8}")
    if item in SCALARS:
        if count <= KEPT_ITEMS:
            return [source.number(SCALARS[item][0]) for _each in range(count)]
        source.skip(count * SCALARS[item][1])
    elif item == STRING:
        source.skip_strings(count)
    else:
        for _each in range(count):
            _value(source, item, depth + 1)
    return _Items(count)


def _metadata(source: _Source, count: int) -> dict[str, Any]:
    if count > MAX_METADATA:
        raise _Corrupt(f"{count} metadata entries")
    entries = {}
    for _each in range(count):
        key = source.string()
        entries[key] = _value(source, source.number("<I"))
    return entries


def _tensors(source: _Source, count: int, alignment: int) -> dict[str, Any]:
    """Sums over the tensors: values and bytes of each part, bytes of each type, and where the last one ends in the data part."""
    if count > MAX_TENSORS:
        raise _Corrupt(f"{count} tensors")
    end = 0
    types: dict[str, int] = {}
    parts = {part: [0, 0] for part in ("experts", "embedding", "output", "others")}
    for _each in range(count):
        name = source.string()
        dimensions = source.number("<I")
        if dimensions > MAX_DIMENSIONS:
            raise _Corrupt(f"a tensor with {dimensions} dimensions, {name[:64]!r}")
        sizes = [source.number("<Q") for _size in range(dimensions)]
        kind, offset = source.number("<I"), source.number("<Q")
        if kind not in TENSOR_TYPES:
            if kind > MAX_TENSOR_TYPE:
                raise _Corrupt(f"tensor {name[:64]!r} of type {kind}")
            raise _Unknown(f"tensor {name[:64]!r} of type {kind}, which llama.cpp no longer or not yet has")
        type_name, block, block_bytes = TENSOR_TYPES[kind]
        values = 1
        for size in sizes:
            values *= size
        if (sizes[0] if sizes else 1) % block or offset % alignment:
            raise _Corrupt(f"tensor {name[:64]!r} with {sizes} values of type {type_name} at offset {offset}")
        size = values // block * block_bytes
        if offset + size > MAX_BYTES:
            raise _Corrupt(f"tensor {name[:64]!r} of {size} bytes at offset {offset}")
        part = parts[_part_of(name)]
        part[0], part[1] = part[0] + values, part[1] + size
        types[type_name] = types.get(type_name, 0) + size
        end = max(end, offset + size)
    return {"parts": parts, "types": types, "end": end}


def _part_of(name: str) -> str:
    if "_exps." in name:
        return "experts"
    return {"token_embd.weight": "embedding", "output.weight": "output"}.get(name, "others")


def active(parts: Mapping[str, Sequence[int]], expert_count: int, expert_used_count: int) -> dict[str, int]:
    """Returns how much of a model works on one token.

    Of the embedding a token needs one row, unless it is the output as well. Of the experts those that are chosen work.

    :param parts: weights and bytes of ``experts``, ``embedding``, ``output`` and ``others``.
    """
    tied = not parts["output"][0]
    share = expert_used_count / expert_count if expert_count and expert_used_count else 1.0
    weights, size = (
        parts["others"][column] + parts["embedding" if tied else "output"][column] + round(parts["experts"][column] * share)
        for column in (0, 1)
    )
    return {"active_parameters": weights, "active_bytes": size, "output_parameters": parts["embedding" if tied else "output"][0]}


def _collapsed(value: Any) -> Any:
    """A value for each layer is one number where all layers are equal."""
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        return value[0]
    return value


def _largest(value: Any) -> int:
    return max(value, default=0) if isinstance(value, list) else int(value)


# A template that shows tools names them in an expression or a statement.
_USES_TOOLS = re.compile(r"\{[%{][^%}]*\btools\b")


def shows_tools(template: str) -> bool:
    """Returns whether a chat template supports tools."""
    return _USES_TOOLS.search(template) is not None


def _facts(metadata: dict[str, Any]) -> dict[str, Any]:
    architecture = str(metadata.get("general.architecture", ""))

    layers = 0

    def per_layer(key: str, default: Any = 0) -> Any:
        value = metadata.get(f"{architecture}.{key}", default)
        if not all(isinstance(item, int) for item in (value if isinstance(value, list) else [value])):
            raise _Corrupt(f"{architecture}.{key} is no number")
        if isinstance(value, list) and 0 < len(value) < layers:
            raise _Corrupt(f"{architecture}.{key} has {len(value)} values for {layers} layers")
        return _collapsed(value)

    def number(key: str, default: int = 0) -> int:
        return _largest(per_layer(key, default))

    def text(key: str) -> str:
        return str(metadata.get(key, ""))

    layers = number("block_count")
    embedding = number("embedding_length")
    heads = per_layer("attention.head_count")
    head_size = embedding // _largest(heads) if _largest(heads) else 0
    pattern = metadata.get(f"{architecture}.attention.sliding_window_pattern")
    ssm = f"{architecture}.ssm."
    return {
        "architecture": architecture,
        "name": text("general.name"),
        "context_length": number("context_length"),
        "layers": layers,
        "embedding_length": embedding,
        "feed_forward_length": per_layer("feed_forward_length"),
        "heads": heads,
        "kv_heads": per_layer("attention.head_count_kv", heads),
        "key_length": number("attention.key_length", head_size),
        "value_length": number("attention.value_length", head_size),
        # Where they differ in layers with a sliding window.
        "key_length_swa": number("attention.key_length_swa", number("attention.key_length", head_size)),
        "value_length_swa": number("attention.value_length_swa", number("attention.value_length", head_size)),
        "latent_attention": bool(number("attention.key_length_mla")),
        "shared_kv_layers": number("attention.shared_kv_layers"),
        "sliding_window": number("attention.sliding_window"),
        "sliding_window_pattern": pattern if isinstance(pattern, (int, list)) else None,
        "vocab_size": _largest(metadata.get(_TOKENS, number("vocab_size"))),
        "tokenizer": text("tokenizer.ggml.model"),
        "chat_template": bool(text("tokenizer.chat_template")),
        "chat_template_tools": any(
            map(_USES_TOOLS.search, map(text, ("tokenizer.chat_template", "tokenizer.chat_template.tool_use")))
        ),
        "expert_count": number("expert_count"),
        "expert_used_count": number("expert_used_count"),
        "expert_feed_forward_length": number("expert_feed_forward_length"),
        "recurrent_layers": per_layer("attention.recurrent_layers", []),
        "full_attention_interval": number("full_attention_interval"),
        "shortconv_length": number("shortconv.l_cache"),
        "wkv_head_size": number("wkv.head_size"),
        "token_shift_count": number("token_shift_count", 2),
        "kda_head_size": number("kda.head_dim"),
        "draft_layers": number("nextn_predict_layers"),
        "ssm": {key[len(ssm) :]: value for key, value in metadata.items() if key.startswith(ssm)},
        "quantization": FILE_TYPES.get(metadata.get("general.file_type", -1), ""),
        "split_count": metadata.get("split.count", 0) or 1,
    }


def _header(source: _Source) -> dict[str, Any]:
    source.skip(len(MAGIC))
    version = source.number("<I")
    if version not in VERSIONS:
        big_endian = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        raise _Corrupt("it is for big-endian machines" if big_endian else f"version {version} instead of 2 or 3")
    tensor_count, metadata_count = source.number("<Q"), source.number("<Q")
    metadata = _metadata(source, metadata_count)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT:
        raise _Corrupt(f"general.alignment is {alignment!r}")
    tensors = _tensors(source, tensor_count, alignment)
    data_offset = source.position + -source.position % alignment
    try:
        facts = _facts(metadata)
    except (TypeError, ValueError, AttributeError):
        raise _Corrupt("a metadata entry has the wrong type") from None
    types = tensors["types"]
    return {
        "version": version,
        **facts,
        "tensor_type": max(types, key=types.__getitem__) if types else "",
        "tensor_types": types,
        "tensor_count": tensor_count,
        "tensor_bytes": sum(types.values()),
        "parameters": sum(weights for weights, _bytes in tensors["parts"].values()),
        **active(tensors["parts"], facts["expert_count"], facts["expert_used_count"]),
        "data_offset": data_offset,
        "required_size": data_offset + tensors["end"] if tensor_count else source.position,
    }


def _tokenizer(source: _Source) -> dict[str, Any]:
    """The metadata of a tokenizer, with all its tokens."""
    source.skip(len(MAGIC) + 12)
    entries = {}
    for _each in range(source.number("<Q")):
        key, kind = source.string(), source.number("<I")
        if key == _TOKENS and kind == ARRAY:
            source.skip(4)
            entries[key] = [source.string() for _token in range(source.number("<Q"))]
        else:
            entries[key] = _value(source, kind)
    return entries


def tokenizer_problem(path: str, draft_path: str) -> str:
    """Returns why a model cannot check the tokens that a draft model guesses; empty if it can.

    llama-server compares the same, and serves without guesses if they differ. Both files must have passed ``check``.
    """
    found, guessed = (_with(one, lambda file, size: _tokenizer(_Source(file, size))) for one in (path, draft_path))
    keys = ["tokenizer.ggml.model"]
    for name in ("bos", "eos"):
        keys.append(f"tokenizer.ggml.add_{name}_token")
        if found.get(keys[-1]):
            keys.append(f"tokenizer.ggml.{name}_token_id")
    # What a file does not say, llama-server takes from the kind of tokenizer.
    different = [key for key in keys if key in found and key in guessed and found[key] != guessed[key]]
    if different:
        return f"{different[0]} is {guessed[different[0]]!r} instead of {found[different[0]]!r}"
    tokens, others = found.get(_TOKENS, []), guessed.get(_TOKENS, [])
    if abs(len(tokens) - len(others)) > MOST_OTHER_TOKENS:
        return f"it has {len(others)} tokens instead of {len(tokens)}"
    for number, (token, other) in enumerate(zip(tokens, others)):
        if token != other and number >= FIRST_COMPARED_TOKEN:
            return f"its token {number} is {other!r} instead of {token!r}"
    return ""


def _read(path: str, file: BinaryIO, size: int) -> dict[str, Any]:
    if size == 0:
        raise CopilotError(f"{path} is empty (0 bytes); {DOWNLOAD_AGAIN}.")
    magic = file.read(len(MAGIC))
    if magic != MAGIC[:size]:
        raise CopilotError(
            f"{path} is not a GGUF model: it begins with {magic!r} instead of {MAGIC!r}. A web page or a Git LFS "
            f"pointer may have been saved in its place; {DOWNLOAD_AGAIN}, from a direct link to a .gguf file."
        )
    source = _Source(file, size)
    try:
        header = _header(source)
    except _Cut:
        raise CopilotError(f"{path} is truncated: its {size} bytes end within the GGUF header; {DOWNLOAD_AGAIN}.") from None
    except _Corrupt as problem:
        raise CopilotError(f"{path} has a GGUF header that cannot be used: {problem}; {DOWNLOAD_AGAIN}.") from None
    except _Unknown as problem:
        raise UnknownTypeError(
            f"{path} has a {problem}; choose another quantization of the model, or a newer version of slm.copilot."
        ) from None
    return {"path": path, **header, "file_size": size, "truncated": size < header["required_size"]}


def part_fault(name: str) -> str | None:
    """Why a file cannot be a whole model, by its name."""
    part = _PART.search(name)
    if not part or int(part[2]) < 2:
        return None
    return f"it is part {int(part[1])} of {int(part[2])} of a model, and one part cannot be served: {MERGE_PARTS}"


def _open(path: str, flags: int) -> int:
    """Without waiting, so that a named pipe in the file's place does not hang the play."""
    return os.open(path, flags | os.O_NONBLOCK)


def read(path: str) -> dict[str, Any]:
    """The facts of a model file; ``truncated`` is true where tensor data is missing at its end.

    Raises CopilotError for a file that cannot be read, is not GGUF, or whose header is corrupt or cut.
    """
    return _with(path, lambda file, size: _read(path, file, size))


def _with(path: str, use: Callable[[BinaryIO, int], dict[str, Any]]) -> dict[str, Any]:
    """Calls a function with an open file and its size."""
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError
            return use(file, status.st_size)
    except FileNotFoundError:
        raise CopilotError(f"{path} does not exist; give the path of a .gguf file on this host.") from None
    except IsADirectoryError:
        raise CopilotError(f"{path} is not a regular file; give the path of a .gguf file.") from None
    except OSError as problem:
        raise CopilotError(f"{path} cannot be read: {problem.strerror}.") from None


def check(path: str) -> dict[str, Any]:
    """Like ``read``, but a truncated file is an error, and so are a part of a model and what has no layers."""
    facts = read(path)
    if facts["split_count"] > 1:
        raise CopilotError(f"{path} is one of {facts['split_count']} parts of a model; {MERGE_PARTS}.")
    if facts["truncated"]:
        raise CopilotError(
            f"{path} is truncated: it has {facts['file_size']} bytes and its tensors need {facts['required_size']}; "
            "download it again (an interrupted download resumes where it stopped)."
        )
    if not facts["layers"] or not facts["tensor_count"]:
        raise UnknownTypeError(f"{path} has no {'weights' if facts['layers'] else 'layers'}; {OTHER_FILE}.")
    return facts
