# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import multiprocessing
import signal
import subprocess

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked

PROCESSES = multiprocessing.get_context("fork")


def hold(folder, held):
    with locked(folder):
        held.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path):
    held = PROCESSES.Event()
    process = PROCESSES.Process(target=hold, args=(tmp_path, held))
    process.start()
    assert held.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_told_who_is_at_work(tmp_path, holder):
    told = rf"another run is at work in {tmp_path}: process {holder.pid} of \S+.* on \S+, since 2"
    with pytest.raises(CopilotError, match=told), locked(tmp_path, patience=0.1):
        pytest.fail("both are in")


def test_a_process_that_is_killed_keeps_nobody_out(tmp_path, holder):
    holder.kill()
    with locked(tmp_path, patience=30):
        pass


def test_who_waits_comes_next(tmp_path, holder):
    held = PROCESSES.Event()
    waiting = PROCESSES.Process(target=hold, args=(tmp_path, held))
    waiting.start()
    assert not held.wait(0.3)
    holder.kill()
    assert held.wait(30)
    waiting.kill()
    waiting.join()


def test_a_folder_that_is_not_there_is_no_reason_to_wait(tmp_path):
    with locked(tmp_path / "nothing"):
        assert not (tmp_path / "nothing").exists()


def test_a_program_that_inherits_the_lock_has_it_too(tmp_path):
    told = []
    with locked(tmp_path, file="other.lock") as lock:
        left = subprocess.Popen(["sleep", "60"], pass_fds=lock)

    def waits():
        told.append("waits")
        if len(told) == 3:
            left.kill()
            left.wait()

    with locked(tmp_path, 30, file="other.lock", waits=waits):
        assert told == ["waits"] * 3


def test_what_has_the_lock_can_be_found_though_its_holder_is_dead(tmp_path):
    with locked(tmp_path, file="other.lock") as lock:
        left = subprocess.Popen(["sleep", "60"], pass_fds=lock)
    with pytest.raises(CopilotError, match=f"end what has {tmp_path}/other.lock open"), locked(tmp_path, 0.1, file="other.lock"):
        pytest.fail("both are in")
    left.kill()
    left.wait()
