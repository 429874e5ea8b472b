# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.modules.model_tune import bench_runner

SCRIPT = "#!/bin/sh\nid -u; id -G; sed -n 's/^ *\\(.*\\):.*/\\1/p' /proc/self/net/dev\n"


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode != 0,
    reason="only root can run something as somebody else, and give it a network of its own",
)
def test_what_is_measured_is_nobody_and_has_no_network() -> None:
    """As llama-server in its unit: an interface that leads nowhere."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as folder:  # others may enter it
        Path(folder).chmod(0o755)
        (Path(folder) / "bin").mkdir()
        bench = Path(folder) / "bin/llama-bench"
        bench.write_text(SCRIPT)
        bench.chmod(0o755)
        said = bench_runner({"user": "nobody", "engine_dir": folder, "model": "any"}, time.monotonic() + 60)(["-p", "1"])
    assert said.split() == [str(nobody.pw_uid), str(nobody.pw_gid), "lo"]
