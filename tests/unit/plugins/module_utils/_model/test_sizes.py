# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the catalogue says of models is what their headers say."""

from __future__ import annotations

from typing import Any

import pytest

model_table = pytest.importorskip("model_table")

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as memory
from ansible_collections.slm.copilot.plugins.module_utils._model.sizes import facts_of, sizes_problem
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models, published

ALIKE = (
    *("architecture", "layers", "embedding_length", "heads", "kv_heads", "key_length", "value_length", "vocab_size", "ssm"),
    *("context_length", "sliding_window", "expert_count", "expert_used_count", "expert_feed_forward_length"),
    *("feed_forward_length", "key_length_swa", "latent_attention", "shared_kv_layers"),
)
LLAMA = {"architecture": "llama", "layers": 2, "embedding_length": 64, "vocab_size": 100, "tensor_type": "Q4_K"}


@pytest.mark.parametrize("name", model_table.catalogue())
def test_the_catalogue_says_what_the_header_does(name: str, tmp_path: Any) -> None:
    header = _gguf.check(str(models.write(tmp_path / "model.gguf", *published.CATALOGUE[name])))
    facts = facts_of(model_table.catalogue()[name])
    assert {key: facts[key] for key in ALIKE} == {key: header[key] for key in ALIKE}
    assert header["tensor_type"] == facts["tensor_type"]
    for key in ("parameters", "active_parameters", "output_parameters"):
        assert facts[key] == pytest.approx(header[key], rel=0.01), key
    # The catalogue's file has some tensors in other types than the header that was made here.
    for key in ("tensor_bytes", "active_bytes"):
        assert facts[key] == pytest.approx(header[key], rel=0.12), key


@pytest.mark.parametrize("name", model_table.catalogue())
def test_it_is_enough_for_a_plan(name: str) -> None:
    assert memory.plan(facts_of(model_table.catalogue()[name]), host_memory_mib=1 << 20)["fits"]


def test_of_experts_those_count_that_work() -> None:
    facts = facts_of(model_table.catalogue()["qwen3-coder-30b-a3b"])
    assert 3.0e9 < facts["active_parameters"] < 3.4e9, "the publisher says 3.3 billion of 30.5"
    assert 30e9 < facts["parameters"] < 31e9


def test_a_head_size_that_is_not_said_follows_from_the_width() -> None:
    assert facts_of({"size_gb": 1, "sizes": {**LLAMA, "heads": 4}})["key_length"] == 16


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        pytest.param("large", "give a mapping", id="no_mapping"),
        pytest.param({**LLAMA, "layer": 3}, "there is no layer; known are architecture, layers", id="misspelt"),
        pytest.param({"layers": 2}, "give architecture, embedding_length, vocab_size, tensor_type, too", id="too_few"),
        pytest.param(
            {**LLAMA, "tensor_type": "Q4_K_M"}, "tensor_type is 'Q4_K_M'; give one of F32", id="the_name_of_a_file_type"
        ),
        pytest.param({**LLAMA, "ssm": {"size": 1}}, "ssm has conv_kernel", id="another_ssm"),
        pytest.param({**LLAMA, "layers": "2", "heads": -1}, "layers, heads must be whole numbers", id="no_numbers"),
        pytest.param(LLAMA, "", id="nothing"),
    ],
)
def test_what_is_wrong_with_sizes(sizes: Any, problem: str) -> None:
    found = sizes_problem(sizes)
    assert found.startswith(problem) and bool(found) == bool(problem)
    if problem and isinstance(sizes, dict):
        with pytest.raises(CopilotError, match="^sizes: "):
            facts_of({"size_gb": 1, "sizes": sizes})
