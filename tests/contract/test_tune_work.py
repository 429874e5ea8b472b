# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An agent's work is timed on a real llama-server, in the sandbox of the service."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import OutOfTime, Settings
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.serve import SOCKETS, serving
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import Agent, measure

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as somebody else")
OWN = [["--ctx-size", "4096"], ["--parallel", "2"], ["--threads", "2"]]


@pytest.fixture(scope="module")
def installed(engine: Path, model: Path) -> Iterator[tuple[str, str]]:
    """An engine and a model where any account may read them."""
    with tempfile.TemporaryDirectory(dir="/var/cache") as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(engine, Path(folder) / "engine", symlinks=True)
        copy = shutil.copy(model, folder)
        subprocess.run(["chmod", "--recursive", "a+rX", folder], check=True)
        yield f"{folder}/engine", str(copy)


def left() -> list[str]:
    return [name for name in os.listdir(SOCKETS) if name.startswith("slm-copilot-")]


def test_a_way_to_guess_is_chosen_by_what_a_server_does(installed: tuple[str, str]) -> None:
    progress: list[str] = []
    deadline = time.monotonic() + 240
    found = measure(
        lambda arguments: serving("nobody", *installed, arguments, deadline),
        Agent(64, 48, 2),
        OWN,
        Settings(1, 1),
        Settings(2, 2),
        ["ngram-mod", "draft-simple"],
        installed[1],  # the best draft model is the model itself
        progress.append,
    )
    assert (found.failed, found.skipped) == ([], [])
    kinds = ["cold prompt", "warm turn", "file edit", "tool call", "2 file edits at once"]
    assert [list(one.seconds) for one in found.timed] == [kinds] * 4
    assert all(value > 0 for one in found.timed for value in one.seconds.values())
    assert found.speculation in ("off", "ngram-mod", "draft-simple")
    assert list(found.gains()) == kinds
    assert left() == []


def test_what_does_not_start_and_what_takes_too_long(installed: tuple[str, str]) -> None:
    with (
        pytest.raises(CopilotError, match=r"llama-server ended \(\d+\) before it served: .*no-such-type"),
        serving("nobody", *installed, ["--spec-type", "no-such-type"], time.monotonic() + 60),
    ):
        pass
    with serving("nobody", *installed, ["--ctx-size", "512"], time.monotonic() + 60) as ask:
        message = {"role": "user", "content": "word " * 2000}
        with pytest.raises(CopilotError, match="llama-server answered with 400: .*context"):
            ask({"messages": [message]})
    with pytest.raises(OutOfTime), serving("nobody", *installed, [], time.monotonic() + 2) as ask:
        while True:
            ask({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64})
    assert left() == []
