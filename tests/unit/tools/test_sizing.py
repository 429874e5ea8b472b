# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sizing guide says what the memory plan says."""

from __future__ import annotations

from pathlib import Path

import pytest

model_table = pytest.importorskip("model_table")

from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as memory
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models, published

PAGE = Path(__file__).resolve().parents[3] / "docs/sizing.md"
HOSTS_MIB = (7900, 15800, 32000, 64000)


def row(name: str, gguf: dict) -> str:
    contexts = []
    for host in HOSTS_MIB:
        auto = {"context_size": "auto", "prompt_cache_mib": "auto"}
        found = memory.plan(gguf, slots=2, **auto, context_checkpoints=8, speculation="ngram-mod", host_memory_mib=host)
        contexts.append(str(found["settings"]["context_size"]) if found["fits"] else "-")
    return f"| `{name}` | {' | '.join(contexts)} |"


@pytest.mark.parametrize("name", model_table.catalogue())
def test_each_model_has_the_contexts_that_fit(name, tmp_path):
    gguf = _gguf.check(str(models.write(tmp_path / "model.gguf", *published.CATALOGUE[name])))
    assert row(name, gguf) in PAGE.read_text().splitlines()
