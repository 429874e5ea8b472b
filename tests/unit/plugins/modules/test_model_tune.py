# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.modules.model_tune import bench_runner
from ansible_collections.slm.copilot.tests.unit.fixtures.inside import LOOK, SEEN_BY_NOBODY


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--net", "--mount", "true"], check=False).returncode != 0,
    reason="only root can run something as somebody else, in namespaces of its own",
)
def test_what_is_measured_runs_in_the_sandbox() -> None:
    with tempfile.TemporaryDirectory(dir="/var/cache") as folder:  # others may enter it
        Path(folder).chmod(0o755)
        (Path(folder) / "bin").mkdir()
        bench = Path(folder) / "bin/llama-bench"
        bench.write_text(f"#!/bin/sh\n{LOOK}\n")
        bench.chmod(0o755)
        said = bench_runner({"user": "nobody", "engine_dir": folder, "model": "any"}, time.monotonic() + 60)(["-p", "1"])
    assert said.strip() == SEEN_BY_NOBODY
