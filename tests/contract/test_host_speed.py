# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real engine computes with the probes by which a host is measured."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import Settings, bench_arguments, parse_bench
from ansible_collections.slm.copilot.plugins.module_utils._model.probe import Probe, write_probe
from ansible_collections.slm.copilot.plugins.module_utils._model.speed import ATTENTION, weights_probe

PROBES = {"attention": ATTENTION, **{kind: weights_probe(kind) for kind in ("Q4_K", "Q8_0", "MXFP4")}}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_the_engine_computes_with_it(engine: Path, tmp_path: Path, probe: Probe) -> None:
    path = tmp_path / "probe.gguf"
    write_probe(str(path), probe)
    arguments = bench_arguments(Settings(1, 1), 1, prompt=8, generated=2, depth=0)
    done = subprocess.run([engine / "bin/llama-bench", "--model", path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    speeds = parse_bench(done.stdout)
    assert speeds["prompt"] > 0
    assert speeds["generated"] > 0
