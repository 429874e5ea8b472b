# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shipped catalogue, and the page that is made of it."""

from __future__ import annotations

import pytest

yaml = pytest.importorskip("yaml")
model_table = pytest.importorskip("model_table")

from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.catalogue import FIELDS, catalogue_problems
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as memory
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models, published

CATALOGUE = model_table.catalogue()


def test_the_shipped_catalogue_has_the_form_of_every_catalogue():
    assert catalogue_problems(CATALOGUE) == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_entry_says_everything(name):
    needed = FIELDS.keys() - {"url", "src", "sha256", "caveat", "fim_only", "tools", "draft_model", "speculation"}
    assert needed <= CATALOGUE[name].keys()


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_figures_are_those_of_the_published_model(name, tmp_path):
    """The file's size follows from the sizes of the tensors, and the memory from the plan."""
    entry = CATALOGUE[name]
    gguf = _gguf.check(str(models.write(tmp_path / "model.gguf", *published.CATALOGUE[name])))
    assert gguf["file_size"] / 1e9 == pytest.approx(entry["size_gb"], rel=0.05)
    assert gguf["context_length"] == entry["context_length"]
    least = memory.plan(
        gguf, slots=1, context_size=4096, prompt_cache_mib=0, context_checkpoints=0, reserve_mib=0, host_memory_mib=1 << 20
    )
    assert entry["ram_gb"] - 3 < least["bytes"]["total"] / 1e9 <= entry["ram_gb"]


def test_the_page_is_made_from_the_catalogue():
    text = model_table.PAGE.read_text()
    assert model_table.page(text, CATALOGUE) == text, "run make docs"


def test_a_change_of_the_catalogue_changes_the_page():
    changed = {**CATALOGUE, "mistral-7b": {**CATALOGUE["mistral-7b"], "licence": "of another kind | really"}}
    text = model_table.PAGE.read_text()
    page = model_table.page(text, changed)
    assert page != text
    assert "of another kind \\| really" in page
    assert page.startswith(text.partition(model_table.BEGIN)[0])
    assert page.endswith(text.partition(model_table.END)[2])
