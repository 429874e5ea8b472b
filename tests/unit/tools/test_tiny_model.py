# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
gguf = pytest.importorskip("gguf")
jinja2 = pytest.importorskip("jinja2.sandbox")

from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models

CHECKOUT = Path(__file__).resolve().parents[3]


def load_tool():
    spec = importlib.util.spec_from_file_location("tiny_model", CHECKOUT / "tools" / "tiny_model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_model"] = module
    spec.loader.exec_module(module)
    return module


tiny_model = load_tool()

TOKENS = ["<unk>", "<s>", "</s>", '"', "ab", "\u2581cd", "\u0120ef", "TOOLONG", "\u4e2d", "ghi"]
TYPES = [2, 3, 3, 1, 1, 1, 1, 1, 1, 1]


def write_vocabulary(path, kind="gpt2", **changes):
    metadata = {
        "general.architecture": "llama",
        "general.name": "vocabulary",
        "llama.block_count": 32,
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.scores": [0.5] * len(TOKENS),
        "tokenizer.ggml.token_type": (models.ARRAY, models.array(5, TYPES)),
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": "theirs",
        **changes,
    }
    return models.write(path, {key: value for key, value in metadata.items() if value is not None})


@pytest.fixture
def vocabulary(tmp_path):
    return write_vocabulary(tmp_path / "vocabulary.gguf")


def make(vocabulary, output, *more):
    assert tiny_model.main(["--vocab", str(vocabulary), "--output", str(output), *more]) == 0
    return output


def test_model_is_complete_and_has_the_shape(vocabulary, tmp_path):
    facts = _gguf.check(str(make(vocabulary, tmp_path / "new/folder/tiny.gguf", "--name", "mine")))
    expected = {
        "architecture": "llama",
        "name": "mine",
        "context_length": 32768,
        "layers": 4,
        "embedding_length": 64,
        "heads": 4,
        "kv_heads": 2,
        "key_length": 32,
        "vocab_size": len(TOKENS),
        "quantization": "F16",
        "chat_template": True,
        "truncated": False,
    }
    assert {key: facts[key] for key in expected} == expected


def test_other_readers_agree(vocabulary, tmp_path):
    reader = gguf.GGUFReader(make(vocabulary, tmp_path / "tiny.gguf"))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    shape = tiny_model.SHAPES["tiny"]
    assert len(tensors) == 2 + 9 * shape.layers
    assert list(tensors["blk.3.ffn_down.weight"].shape) == [shape.feed_forward, shape.embedding]
    assert list(tensors["blk.0.attn_k.weight"].shape) == [shape.embedding, shape.kv_heads * shape.head_size]
    for tensor in tensors.values():
        assert np.isfinite(tensor.data).all()
        assert np.abs(tensor.data).max() > 0


def test_tokenizer_is_taken_over_and_the_template_is_ours(vocabulary, tmp_path):
    fields = gguf.GGUFReader(make(vocabulary, tmp_path / "tiny.gguf")).fields
    assert fields["tokenizer.ggml.tokens"].contents() == TOKENS
    assert fields["tokenizer.ggml.token_type"].contents() == TYPES
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 2
    assert fields["tokenizer.ggml.add_space_prefix"].contents() is True
    assert fields["tokenizer.chat_template"].contents() == tiny_model.CHAT_TEMPLATE
    assert fields["general.name"].contents() == "slm-copilot-tiny"


def test_sentencepiece_adds_no_space(tmp_path):
    path = write_vocabulary(tmp_path / "spm.gguf", kind="llama")
    fields = gguf.GGUFReader(make(path, tmp_path / "tiny.gguf")).fields
    assert fields["tokenizer.ggml.add_space_prefix"].contents() is False


def test_first_value_says_how_welcome_a_token_is(vocabulary, tmp_path):
    reader = gguf.GGUFReader(make(vocabulary, tmp_path / "tiny.gguf"))
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    other, syllable, end = tiny_model.WELCOME, tiny_model.WELCOME_SYLLABLE, tiny_model.WELCOME_END
    expected = [other, other, end, end, syllable, syllable, syllable, other, other, syllable]
    embedding = tensors["token_embd.weight"]
    assert embedding[:, 0] == pytest.approx(np.array(expected), abs=1e-3)
    assert not embedding[2, 1:].any()
    assert embedding[1, 1:].std() == pytest.approx(1 / 8, rel=0.3)
    assert not tensors["blk.2.ffn_down.weight"][0].any()
    assert not tensors["blk.2.attn_output.weight"][0].any()
    assert tensors["blk.2.ffn_up.weight"][0].any()
    assert tensors["output_norm.weight"][0] == tiny_model.WELCOME_GAIN


def test_same_arguments_give_the_same_bytes(vocabulary, tmp_path):
    first = make(vocabulary, tmp_path / "a.gguf").read_bytes()
    assert make(vocabulary, tmp_path / "b.gguf", "--seed", "1").read_bytes() == first
    other = make(vocabulary, tmp_path / "c.gguf", "--seed", "2").read_bytes()
    assert (other != first, len(other)) == (True, len(first))
    # Pinned: a change here changes the checksum of every model that was made before.
    assert hashlib.sha256(first).hexdigest() == "5b6a4ae646c6ff739db84187b8ff6bb0b3ae910fef5adfd5c10d1c2c600c3b74"


def test_pieces_make_no_difference(vocabulary, tmp_path, monkeypatch):
    first = make(vocabulary, tmp_path / "a.gguf").read_bytes()
    monkeypatch.setattr(tiny_model, "PIECE", 64 * 4)
    assert make(vocabulary, tmp_path / "b.gguf").read_bytes() == first


def test_large_shape_suits_k_quants():
    shape = tiny_model.SHAPES["1.5b"]
    tensors = tiny_model.tensors_of(shape, 151936)
    assert 1.5e9 < sum(tensor.rows * tensor.columns for tensor in tensors) < 1.6e9
    assert all(tensor.columns % 256 == 0 for tensor in tensors)


def test_nothing_is_left_of_a_failed_write(vocabulary, tmp_path, monkeypatch):
    output = tmp_path / "out/tiny.gguf"
    make(vocabulary, output)
    before = output.read_bytes()

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiny_model, "weights", fail)
    assert tiny_model.main(["--vocab", str(vocabulary), "--output", str(output), "--seed", "9"]) == 1
    assert output.read_bytes() == before
    assert [path.name for path in output.parent.iterdir()] == ["tiny.gguf"]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        pytest.param(lambda path: path.unlink(), "No such file or directory", id="missing"),
        pytest.param(lambda path: path.write_text("no model"), "is no GGUF file", id="not_gguf"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:300]), "is cut", id="cut"),
        pytest.param(
            lambda path: write_vocabulary(path, **{"tokenizer.ggml.tokens": None}),
            "has no tokens or no end token",
            id="no_tokens",
        ),
        pytest.param(
            lambda path: write_vocabulary(path, **{"tokenizer.ggml.eos_token_id": None}),
            "has no tokens or no end token",
            id="no_end_token",
        ),
    ],
)
def test_unusable_vocabulary(vocabulary, tmp_path, capsys, spoil, text):
    spoil(vocabulary)
    assert tiny_model.main(["--vocab", str(vocabulary), "--output", str(tmp_path / "tiny.gguf")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("tiny_model: ")
    assert text in message
    assert not (tmp_path / "tiny.gguf").exists()


TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "read", "arguments": {"path": "a.py"}}}


def render(messages, **values):
    environment = jinja2.ImmutableSandboxedEnvironment()
    environment.filters["tojson"] = json.dumps
    return environment.from_string(tiny_model.CHAT_TEMPLATE).render(messages=messages, **values)


def test_template_of_a_conversation():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
    ]
    assert render(messages, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nYes<|im_end|>\n<|im_start|>assistant\n"
    )


def test_template_of_content_in_parts():
    parts = [{"type": "text", "text": "one "}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    assert render([{"role": "user", "content": parts}]) == "<|im_start|>user\none two<|im_end|>\n"


@pytest.mark.parametrize(
    "arguments", [pytest.param({"path": "a.py"}, id="as_object"), pytest.param('{"path": "a.py"}', id="as_text")]
)
def test_template_of_tools(arguments):
    call = {**CALL, "function": {**CALL["function"], "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Read it"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "print()"},
    ]
    text = render(messages, tools=[TOOL], add_generation_prompt=True)
    assert json.dumps(TOOL) in text.partition("</tools>")[0]
    assert '<tool_call>\n{"name": "read", "arguments": {"path": "a.py"}}\n</tool_call><|im_end|>' in text
    assert text.endswith("<|im_start|>tool\n<tool_response>\nprint()\n</tool_response><|im_end|>\n<|im_start|>assistant\n")


def test_header_is_readable_before_the_weights(vocabulary):
    out = io.BytesIO()
    tiny_model.write_model(out, tiny_model.SHAPES["tiny"], tiny_model.read_vocabulary(vocabulary), 1, "n")
    assert out.getvalue().startswith(b"GGUF\x03\0\0\0")
