# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds what is expected of models, from a few seconds with probes, against what llama-bench measures with the models."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._host.state import read_cpu
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import Settings, bench_arguments, parse_bench
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.probe import Probe, write_probe
from ansible_collections.slm.copilot.plugins.module_utils._model.speed import SHORT_PROMPT, expected, measured
from bench_sides import Row, ratios

GENERATED = 32
Measure = Callable[[], dict[str, float]]


def llama_bench(engine: Path, model: Path, prompt: int, generated: int, depth: int = 0) -> dict[str, float]:
    """Returns tokens a second, as ``prompt`` and ``generated``.

    :param engine: where the programs are.
    """
    cores = int(read_cpu("")["usable_cores"])
    arguments = bench_arguments(Settings(cores, cores), cores, prompt, generated, depth)
    done = subprocess.run([engine / "llama-bench", "--model", model, *arguments], capture_output=True, text=True, check=True)
    return parse_bench(done.stdout)


def _expected(engine: Path, model: Path) -> dict[str, float]:
    facts = gguf.check(str(model))
    with tempfile.TemporaryDirectory() as folder:

        def bench(probe: Probe, prompt: int, generated: int, depth: int) -> Mapping[str, float]:
            path = Path(folder) / f"{probe.weights}-{probe.layers}.gguf"
            if not path.exists():
                write_probe(str(path), probe)
            return llama_bench(engine, path, prompt, generated, depth)

        found = expected(facts, measured(bench, [facts["tensor_type"]]))
    return {"prompt": found.prompt, "generated": found.generated}


def sides(engine: Path, model: Path) -> dict[str, Measure]:
    """Returns what says of a model what is expected, and what is measured."""
    return {
        "expected": partial(_expected, engine, model),
        "measured": partial(llama_bench, engine, model, SHORT_PROMPT, GENERATED),
    }


def rows(name: str, found: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Returns the ratios of medians."""
    foreseen, real = found["expected"], found["measured"]
    what = {
        "prompt": f"prompts of {name}, expected against measured",
        "generated": f"answers of {name}, expected against measured",
    }
    return ratios(what, foreseen, real, "{:.1f} against {:.1f} tokens/s")
