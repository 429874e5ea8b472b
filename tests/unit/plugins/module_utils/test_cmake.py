# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a build is run and followed, with a shell script in the place of Ninja."""

from __future__ import annotations

import fcntl
import getpass
import json
import threading
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._cmake import run, wait_for
from ansible_collections.slm.copilot.plugins.module_utils._errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._progress import ProgressFile


def test_the_steps_are_followed(tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    worked = run(["sh", "-c", "echo '[1/2] one'"], getpass.getuser(), tmp_path, ProgressFile(str(progress)))
    assert worked
    seen = json.loads(progress.read_text())
    assert (seen["phase"], seen["done"], seen["total"], seen["unit"]) == ("compiling", 1, 2, "steps")
    assert (tmp_path / "build.log").read_text() == "[1/2] one\n"


def test_nothing_to_do_is_no_work(tmp_path: Path) -> None:
    assert not run(["echo", "ninja: no work to do."], getpass.getuser(), tmp_path, ProgressFile(None))


def test_a_failure_ends_with_what_was_said(tmp_path: Path) -> None:
    with pytest.raises(CopilotError, match=r"sh failed \(3\).*build\.log(.|\n)*error: no such file"):
        run(["sh", "-c", "echo 'error: no such file'; exit 3"], getpass.getuser(), tmp_path, ProgressFile(None))


def test_a_second_run_waits_and_shows_how_far_the_first_is(tmp_path: Path) -> None:
    log, progress = tmp_path / "build.log", tmp_path / "progress"
    log.write_text("[1/9] a\n[4/9] b\n")
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        threading.Timer(0.5, lambda: fcntl.flock(first, fcntl.LOCK_UN)).start()
        wait_for(second, log, ProgressFile(str(progress)))
    seen = json.loads(progress.read_text())
    assert (seen["phase"], seen["done"], seen["total"]) == ("another run is compiling here", 4, 9)
