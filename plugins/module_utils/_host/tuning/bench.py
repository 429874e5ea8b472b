# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs llama-bench of the installed engine."""

from __future__ import annotations

import os
import subprocess

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._engine.sandbox import sandboxed
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import OutOfTime


def run_bench(user: str, engine_dir: str, model: str, arguments: list[str], seconds: float) -> str:
    """Runs llama-bench for a model in the sandbox of the engine's service, and returns its output. It exits with this process.

    :param model: its file.
    :param seconds: for how long it may run.
    :raises OutOfTime: when it takes longer.
    :raises CopilotError: when it fails.
    """
    if seconds <= 0:
        raise OutOfTime
    command = [os.path.join(engine_dir, "bin/llama-bench"), "--model", model, *arguments]
    try:
        done = subprocess.run(
            sandboxed(user, command),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        raise OutOfTime from None
    if done.returncode != 0:
        said = done.stderr.strip()[-500:] or "no output"
        raise CopilotError(f"llama-bench failed ({done.returncode}) with {' '.join(arguments)}: {said}")
    return done.stdout
