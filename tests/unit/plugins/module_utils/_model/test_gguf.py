# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import random
import re
import signal
import struct
import time
import tracemalloc

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models

SMALL = {
    "general.architecture": "llama",
    "general.name": "small",
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
}
ONE_TENSOR = (("token_embd.weight", (64, 32), "F32"),)


def small(tmp_path, *, tensors=ONE_TENSOR, **changes):
    metadata = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
    return str(models.write(tmp_path / "small.gguf", metadata, tensors))


def link_to_itself(path):
    path.symlink_to(path)


DEVSTRAL_FACTS = {
    "version": 3,
    "architecture": "mistral3",
    "name": "Devstral-Small-2-24B-Instruct-2512",
    "context_length": 393216,
    "layers": 40,
    "embedding_length": 5120,
    "feed_forward_length": 32768,
    "heads": 32,
    "kv_heads": 8,
    "key_length": 128,  # in the file, and not 5120 / 32
    "value_length": 128,
    "sliding_window": 0,
    "vocab_size": 131072,
    "tokenizer": "gpt2",
    "chat_template": True,
    "expert_count": 0,
    "ssm": {},
    "quantization": "Q4_K_M",
    "tensor_type": "Q4_K",
    "tensor_count": 363,
    "parameters": 23_572_403_200,
    "split_count": 1,
    "truncated": False,
}
QWEN_FACTS = {"heads": 12, "kv_heads": 2, "key_length": 128, "value_length": 128, "chat_template": False, "vocab_size": 151936}
GEMMA_FACTS = {"sliding_window": 1024, "sliding_window_pattern": None, "key_length": 256, "embedding_length": 3840}
MAMBA_FACTS = {
    "heads": 0,
    "kv_heads": 0,
    "key_length": 0,
    "ssm": {"conv_kernel": 4, "inner_size": 8192, "state_size": 128, "time_step_rank": 128, "group_count": 8},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("devstral", DEVSTRAL_FACTS, id="devstral"),
        pytest.param("qwen", QWEN_FACTS, id="head_sizes_follow_from_width"),
        pytest.param("gemma", GEMMA_FACTS, id="sliding_window"),
        pytest.param("mamba", MAMBA_FACTS, id="recurrent"),
    ],
)
def test_facts_of_published_models(published, name, expected):
    assert {key: published[name][key] for key in expected} == expected


def test_sizes_of_a_published_model(published):
    facts = published["devstral"]
    assert facts["tensor_bytes"] == sum(facts["tensor_types"].values())
    assert facts["tensor_bytes"] == sum(models.tensor_size(kind, sizes) for _name, sizes, kind in models.DEVSTRAL_TENSORS)
    assert facts["data_offset"] % 32 == 0
    assert facts["file_size"] == facts["required_size"] == facts["data_offset"] + facts["tensor_bytes"]


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        pytest.param({}, "kv_heads", 4, id="kv_heads_default_to_heads"),
        pytest.param({"llama__attention__head_count_kv": [2, 2]}, "kv_heads", 2, id="equal_layers_collapse"),
        pytest.param({"llama__attention__head_count_kv": [0, 2]}, "kv_heads", [0, 2], id="different_layers_stay"),
        pytest.param({"llama__attention__head_count": [4, 8]}, "key_length", 8, id="head_size_of_most_heads"),
        pytest.param({"llama__attention__key_length": 80}, "key_length", 80, id="head_size_in_the_file"),
        pytest.param({"llama__expert_count": 8}, "expert_count", 8, id="experts"),
        pytest.param({"llama__expert_used_count": 2}, "expert_used_count", 2, id="experts_used"),
        pytest.param({"llama__attention__sliding_window_pattern": 4}, "sliding_window_pattern", 4, id="window_period"),
        pytest.param(
            {"llama__attention__sliding_window_pattern": [True, False]},
            "sliding_window_pattern",
            [True, False],
            id="window_for_each_layer",
        ),
        pytest.param({"split__count": (2, 3)}, "split_count", 3, id="split"),
        pytest.param({"split__count": (2, 0)}, "split_count", 1, id="split_of_nothing"),
        pytest.param({"general__file_type": 1}, "quantization", "F16", id="file_type"),
        pytest.param({"general__file_type": 1024}, "quantization", "", id="guessed_file_type"),
        pytest.param({}, "quantization", "", id="no_file_type"),
        pytest.param({}, "tensor_type", "F32", id="predominant_type"),
        pytest.param({"tokenizer__ggml__tokens": ["a", "b", "c"]}, "vocab_size", 3, id="vocabulary"),
        pytest.param({"llama__vocab_size": 32000}, "vocab_size", 32000, id="vocabulary_not_in_the_file"),
        pytest.param({"tokenizer__chat_template": "{{ x }}"}, "chat_template", True, id="chat_template"),
        pytest.param({"tokenizer__chat_template": ""}, "chat_template", False, id="empty_chat_template"),
        pytest.param({"tokenizer__chat_template": "{%- if tools %}"}, "chat_template_tools", True, id="tools"),
        pytest.param({"tokenizer__chat_template": "tools {{ x.tool_calls }}"}, "chat_template_tools", False, id="no_tools"),
        pytest.param({"general__name": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"}, "name", "caf\xe9", id="utf8"),
        pytest.param({"x": (models.ARRAY, models.array(5, range(5000)))}, "layers", 2, id="long_array_is_skipped"),
        pytest.param(
            {"x": (models.ARRAY, struct.pack("<IQ", models.ARRAY, 1) + models.array(models.U32, [1, 2]))},
            "layers",
            2,
            id="array_of_arrays",
        ),
    ],
)
def test_facts_of_odd_metadata(tmp_path, changes, key, expected):
    assert _gguf.read(small(tmp_path, **changes))[key] == expected


def test_every_scalar_type_is_skipped_by_its_size(tmp_path):
    values = {f"scalar.{kind}": (kind, True if kind == models.BOOL else 1) for kind in models.FORMATS}
    assert _gguf.read(small(tmp_path, **values))["tensor_count"] == 1


def test_version_2(tmp_path):
    path = tmp_path / "v2.gguf"
    path.write_bytes(models.header(SMALL, version=2)[0])
    assert _gguf.read(str(path))["version"] == 2


def test_vocabulary_only_file_needs_no_padding(tmp_path):
    facts = _gguf.read(small(tmp_path, tensors=[]))
    assert (facts["tensor_count"], facts["tensor_bytes"], facts["tensor_type"]) == (0, 0, "")
    assert facts["required_size"] == facts["file_size"]


@pytest.mark.parametrize(
    ("changes", "tensors", "lacks"),
    [
        pytest.param({}, [], "weights", id="a_vocabulary_alone"),
        pytest.param({"llama.block_count": 0}, [("a", (3,), "F32")], "layers", id="a_projector"),
    ],
)
def test_what_has_no_layers_is_no_model_and_is_not_fetched_again(tmp_path, changes, tensors, lacks):
    path = models.write(tmp_path / "none.gguf", {**SMALL, **changes}, tensors)
    with pytest.raises(_gguf.UnknownTypeError, match=f"has no {lacks}; choose the file of a language model"):
        _gguf.check(str(path))


def test_alignment_of_the_file_counts(tmp_path):
    tensors = [("a", (3,), "F32"), ("b", (5,), "F32")]
    path = models.write(tmp_path / "aligned.gguf", {**SMALL, "general.alignment": 128}, tensors, alignment=128)
    facts = _gguf.check(str(path))
    assert facts["data_offset"] % 128 == 0
    assert facts["required_size"] == facts["data_offset"] + 128 + 20


def test_last_byte_missing(tmp_path):
    path = str(models.write(tmp_path / "cut.gguf", SMALL, ONE_TENSOR, missing=1))
    facts = _gguf.read(path)
    assert facts["truncated"] is True
    assert facts["required_size"] == facts["file_size"] + 1
    with pytest.raises(CopilotError) as problem:
        _gguf.check(path)
    assert str(problem.value) == (
        f"{path} is truncated: it has {facts['file_size']} bytes and its tensors need {facts['required_size']}; "
        "download it again (an interrupted download resumes where it stopped)."
    )


@pytest.mark.parametrize("tensors", [pytest.param(ONE_TENSOR, id="with_tensors"), pytest.param([], id="vocabulary_only")])
def test_cut_anywhere_within_the_header(tmp_path, tensors):
    long = (models.ARRAY, models.array(0, [1] * 5000))
    head = models.header({**SMALL, "long": long, "numbers": [1, 2], "tokenizer.ggml.tokens": ["a", "bc"]}, tensors)[0]
    path = tmp_path / "cut.gguf"
    for length in (*range(1, 400), *range(len(head) - 200, len(head))):
        path.write_bytes(head[:length])
        with pytest.raises(CopilotError) as problem:
            _gguf.read(str(path))
        assert str(problem.value) == (
            f"{path} is truncated: its {length} bytes end within the GGUF header; delete it and download it again."
        )


def test_window_edges_do_not_matter(tmp_path, monkeypatch):
    tokens = ["x" * length for length in range(300)]
    path = small(tmp_path, tokenizer__ggml__tokens=tokens, tokenizer__ggml__merges=tokens)
    expected = _gguf.check(path)
    for chunk in (1, 7, 8, 9, 64, 301):
        monkeypatch.setattr(_gguf, "CHUNK", chunk)
        assert _gguf.check(path) == expected


LONG = 1 << 40
CORRUPT = [
    pytest.param(struct.pack("<IQQ", 1, 0, 0), "version 1 instead of 2 or 3", id="version_1"),
    pytest.param(struct.pack(">IQQ", 3, 0, 0), "it is for big-endian machines", id="big_endian"),
    pytest.param(struct.pack("<IQQ", 3, 0, LONG), f"{LONG} metadata entries", id="metadata_count"),
    pytest.param(struct.pack("<IQQ", 3, LONG, 0), f"{LONG} tensors", id="tensor_count"),
    pytest.param(struct.pack("<IQQQ", 3, 0, 1, LONG), f"a text of {LONG} bytes at byte 24", id="key_length"),
    pytest.param(struct.pack("<IQQ", 3, 0, 1) + models.text("k") + struct.pack("<I", 13), "unknown type 13", id="value_type"),
    pytest.param(
        struct.pack("<IQQ", 3, 0, 1) + models.text("k") + struct.pack("<IIQ", 9, 8, LONG),
        f"an array of {LONG} items",
        id="array_length",
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 0, 1) + models.text("k") + struct.pack("<IIQQ", 9, 8, 1, LONG),
        f"a text of {LONG} bytes",
        id="text_in_an_array",
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 0, 1) + models.text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9,
        "arrays within arrays",
        id="nested_arrays",
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 1, 0) + models.text("t") + struct.pack("<I", 5), "a tensor with 5 dimensions, 't'", id="dimensions"
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 1, 0) + models.text("t") + struct.pack("<IQIQ", 1, 32, 31000, 0),
        "tensor 't' of type 31000",
        id="tensor_type_that_no_version_has",
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 1, 0) + models.text("t") + struct.pack("<IQIQ", 1, 100, 12, 0),
        "tensor 't' with [100] values of type Q4_K at offset 0",
        id="half_a_block",
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 1, 0) + models.text("t") + struct.pack("<IQIQ", 1, 32, 0, 7),
        "tensor 't' with [32] values of type F32 at offset 7",
        id="offset_not_aligned",
    ),
    pytest.param(
        struct.pack("<IQQ", 3, 1, 0) + models.text("t") + struct.pack("<IQQIQ", 2, LONG, LONG, 0, 0),
        f"tensor 't' of {4 * LONG * LONG} bytes at offset 0",
        id="absurd_tensor",
    ),
    pytest.param(models.header({"general.alignment": 0})[0][4:], "general.alignment is 0", id="no_alignment"),
    pytest.param(models.header({"general.alignment": "x"})[0][4:], "general.alignment is 'x'", id="alignment_is_text"),
    pytest.param(
        models.header({**SMALL, "llama.block_count": "many"})[0][4:], "llama.block_count is no number", id="layers_are_text"
    ),
    pytest.param(
        models.header({**SMALL, "llama.block_count": 1.5})[0][4:], "llama.block_count is no number", id="layers_are_a_fraction"
    ),
    pytest.param(
        models.header({**SMALL, "llama.block_count": 3, "llama.attention.head_count_kv": [8, 4]})[0][4:],
        "llama.attention.head_count_kv has 2 values for",
        id="too_few_layers",
    ),
    pytest.param(
        models.header({**SMALL, "tokenizer.ggml.tokens": "a"})[0][4:],
        "a metadata entry has the wrong type",
        id="vocabulary_is_text",
    ),
]


def test_an_unknown_tensor_type_is_no_damage(tmp_path):
    path = tmp_path / "newer.gguf"
    tensor = struct.pack("<IQQ", 3, 1, 0) + models.text("t") + struct.pack("<IQIQ", 1, 32, 31, 0)
    path.write_bytes(b"GGUF" + tensor + bytes(4096))
    expected = (
        f"{path} has a tensor 't' of type 31, which llama.cpp no longer or not yet has; choose another quantization of the "
        "model, or a newer version of slm.copilot."
    )
    with pytest.raises(_gguf.UnknownTypeError, match=re.escape(expected)):
        _gguf.read(str(path))


def test_a_part_of_a_model_is_no_model(tmp_path):
    path = small(tmp_path, split__count=(2, 3))
    assert _gguf.read(path)["split_count"] == 3
    with pytest.raises(CopilotError, match=r"small.gguf is one of 3 parts of a model; merge them with llama-gguf-split --merge"):
        _gguf.check(path)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param("x-00001-of-00003.gguf", "part 1 of 3", id="first"),
        pytest.param("Q4/x-00002-of-00002.gguf", "part 2 of 2", id="last, in a folder"),
        pytest.param("x-00001-of-00001.gguf", None, id="the only one"),
        pytest.param("x-Q4_K_M.gguf", None, id="whole"),
    ],
)
def test_a_part_is_known_by_its_name(name, part):
    fault = _gguf.part_fault(name)
    assert part in fault if part else fault is None


@pytest.mark.parametrize(("rest", "reason"), CORRUPT)
def test_corrupt_header(tmp_path, rest, reason):
    path = tmp_path / "corrupt.gguf"
    path.write_bytes(b"GGUF" + rest + bytes(4096))
    tracemalloc.start()
    try:
        with pytest.raises(CopilotError) as problem:
            _gguf.read(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(problem.value).startswith(f"{path} has a GGUF header that cannot be used: ")
    assert reason in str(problem.value)
    assert str(problem.value).endswith("; delete it and download it again.")
    assert peak < 4 << 20


def test_random_damage_never_gives_another_exception(tmp_path):
    head = models.header({**SMALL, "tokenizer.ggml.tokens": ["a"] * 50, "n": [1, 2, 3]}, ONE_TENSOR * 3)[0] + bytes(30000)
    path = tmp_path / "damaged.gguf"
    source = random.Random(1)
    refused = 0
    for _round in range(2000):
        damaged = bytearray(head)
        for _byte in range(source.randint(1, 4)):
            damaged[source.randrange(4, 900)] = source.randrange(256)
        path.write_bytes(damaged)
        try:
            _gguf.read(str(path))
        except CopilotError:
            refused += 1
    assert refused > 500


@pytest.fixture
def deadline():
    """Turns a read that never returns into a failure: SIGALRM ends the process."""
    signal.alarm(30)
    yield
    signal.alarm(0)


def link_to_pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda path: None, "does not exist; give the path of a .gguf file on this host.", id="missing"),
        pytest.param(lambda path: path.mkdir(), "is not a regular file; give the path of a .gguf file.", id="directory"),
        pytest.param(link_to_pipe, "is not a regular file; give the path of a .gguf file.", id="pipe"),
        pytest.param(lambda path: path.touch(), "is empty (0 bytes); delete it and download it again.", id="empty"),
        pytest.param(
            lambda path: path.write_text("<html>"),
            "is not a GGUF model: it begins with b'<htm' instead of b'GGUF'. A web page or a Git LFS pointer may have been "
            "saved in its place; delete it and download it again, from a direct link to a .gguf file.",
            id="web_page",
        ),
        pytest.param(link_to_itself, "cannot be read: Too many levels of symbolic links.", id="loop"),
    ],
)
@pytest.mark.usefixtures("deadline")
def test_not_a_model(tmp_path, make, text):
    path = tmp_path / "model.gguf"
    make(path)
    with pytest.raises(CopilotError) as problem:
        _gguf.read(str(path))
    assert str(problem.value) == f"{path} {text}"


def test_large_vocabulary_is_quick_and_not_kept(tmp_path):
    tokens = [f"token{number}" for number in range(150_000)]
    path = small(tmp_path, tokenizer__ggml__tokens=tokens, tokenizer__ggml__scores=[0.5] * 150_000)
    started = time.process_time()
    assert _gguf.read(path)["vocab_size"] == 150_000
    assert time.process_time() - started < 0.3
    tracemalloc.start()
    try:
        _gguf.read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


WORDS = [f"w{number}" for number in range(300)]
OTHER = {"tokenizer__ggml__tokens": [*WORDS[:200], "another", *WORDS[201:]]}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({}, "", id="the same"),
        pytest.param({"tokenizer__ggml__tokens": ["a", "b", "c", "d", "e", *WORDS[5:]]}, "", id="other special tokens"),
        pytest.param({"tokenizer__ggml__tokens": WORDS + ["padding"] * 128}, "", id="padding"),
        pytest.param({"tokenizer__ggml__tokens": WORDS + ["padding"] * 129}, "it has 429 tokens instead of 300", id="more"),
        pytest.param(OTHER, "its token 200 is 'another' instead of 'w200'", id="another token"),
        pytest.param({"tokenizer__ggml__model": "llama"}, "tokenizer.ggml.model is 'llama' instead of 'gpt2'", id="kind"),
        pytest.param({"tokenizer__ggml__bos_token_id": 7}, "tokenizer.ggml.bos_token_id is 7 instead of 1", id="beginning"),
        pytest.param({"tokenizer__ggml__eos_token_id": 7}, "", id="an end that is not added"),
    ],
)
def test_whose_tokens_a_model_can_check(tmp_path, changes, problem):
    usual = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.tokens": WORDS,
    }
    changed = {**usual, **{key.replace("__", "."): value for key, value in changes.items()}}
    model, draft = (
        str(models.write(tmp_path / name, {**SMALL, **vocabulary}, [("a", (3,), "F32")]))
        for name, vocabulary in (("model.gguf", usual), ("draft.gguf", changed))
    )
    assert _gguf.tokenizer_problem(model, draft) == problem


def test_type_sizes_are_those_of_the_gguf_package():
    gguf = pytest.importorskip("gguf")
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    theirs[9] = ("Q8_1", 32, 36)  # as llama.cpp's own struct; some packages say 40
    theirs.setdefault(42, ("Q2_0", 64, 18))  # newer than some packages
    assert theirs == _gguf.TENSOR_TYPES


def test_file_types_are_those_of_the_gguf_package():
    gguf = pytest.importorskip("gguf")
    names = {kind.value: kind.name.replace("MOSTLY_", "").replace("ALL_", "") for kind in gguf.LlamaFileType}
    names[38] = names[38].replace("_MOE", "")
    del names[1024]  # "guessed" says nothing
    names.setdefault(41, "Q2_0")  # newer than some packages
    assert names == _gguf.FILE_TYPES


def test_file_of_the_gguf_package(tmp_path):
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("theirs")
    writer.add_block_count(3)
    writer.add_embedding_length(64)
    writer.add_head_count(8)
    writer.add_head_count_kv([2, 4, 2])
    writer.add_token_list(["a", "b"])
    writer.add_tensor("a", numpy.zeros((5, 64), numpy.float16))
    writer.add_tensor("b", numpy.zeros((3,), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts = _gguf.check(str(path))
    assert (facts["architecture"], facts["layers"], facts["kv_heads"], facts["key_length"]) == ("qwen2", 3, [2, 4, 2], 8)
    assert (facts["parameters"], facts["tensor_bytes"], facts["tensor_type"]) == (323, 652, "F16")
