# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs system programs, and reports their output if they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


def run(
    command: list[str], what: str, text: str | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Runs a program and returns what it printed.

    :param what: what it is for, for people.
    :param text: what it reads.
    :param env: variables besides those of this process.
    :raises CopilotError: it is not installed, or failed, with the last of its words.
    """
    try:
        done = subprocess.run(
            command,
            input=text,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | dict(env or {}),
            cwd=cwd,
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise CopilotError(f"{what}: {command[0]} was not found. Install the Debian package that has it.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise CopilotError(f"{what}: {' '.join(command[:3])} failed: {said}. Run again: it resumes where it stopped.")
    return done.stdout
