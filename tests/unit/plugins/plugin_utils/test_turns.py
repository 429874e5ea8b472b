# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that do something in turn, as the processes of a play do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._turns import fail, permits, turn

FORK = multiprocessing.get_context("fork")


@pytest.mark.parametrize(
    ("batch", "hosts", "expected"), [("1", 20, 1), ("3", 2, 3), ("25%", 20, 5), ("25%", 3, 1), ("100%", 3, 3), (2, 5, 2)]
)
def test_how_many_at_a_time(batch: str, hosts: int, expected: int) -> None:
    assert permits(batch, hosts) == expected


@pytest.mark.parametrize("batch", ["", "0", "-1", "101%", "1.5", "all", None])
def test_what_is_no_number_of_hosts(batch: str) -> None:
    with pytest.raises(CopilotError, match="is not a number of hosts such as 1 or 25%"):
        permits(batch, 4)


def wait_for_company(folder: str, number: int) -> None:
    """Stays at work until as many as may be have been there at once, and then for long enough to be seen by one too many."""
    full, until = Path(folder, "full"), time.monotonic() + 10
    while not full.exists() and time.monotonic() < until:
        if len(list(Path(folder).glob("at-work-*"))) >= number:
            full.touch()
        time.sleep(0.01)
    time.sleep(0.05)


def work(folder: str, number: int, place: int, bad: str) -> None:
    name = f"host-{place}"
    try:
        with turn(folder, number, place, lambda seconds: time.sleep(0.01 if seconds < 1 else 1)):
            at_work = Path(folder, f"at-work-{name}")
            at_work.touch()
            with Path(folder, "seen").open("a") as seen:
                seen.write(f"{len(list(Path(folder).glob('at-work-*')))}\n")
            with Path(folder, "order").open("a") as order:
                order.write(f"{place}\n")
            wait_for_company(folder, number)
            at_work.unlink()
            if name == bad:
                fail(folder, name)
    except CopilotError as error:
        Path(folder, f"refused-{name}").write_text(str(error))


def together(folder: Path, number: int, bad: str = "") -> list[int]:
    """Has six processes take turns, and returns how many were at work each time that one began."""
    processes = [FORK.Process(target=work, args=(str(folder), number, one, bad)) for one in reversed(range(6))]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    return [int(line) for line in (folder / "seen").read_text().split()]


@pytest.mark.parametrize("number", [1, 2])
def test_never_more_than_that_at_a_time(tmp_path: Path, number: int) -> None:
    seen = together(tmp_path, number)
    assert (len(seen), max(seen)) == (6, number)
    order = [int(line) for line in (tmp_path / "order").read_text().split()]
    assert sorted(order) == list(range(6))
    assert number > 1 or order == sorted(order), "whoever came first, they begin in the order of the inventory"


def test_nobody_begins_after_one_that_failed(tmp_path: Path) -> None:
    """Whoever had no turn yet when it failed is told why."""
    fail(str(tmp_path), "paris-1")
    with pytest.raises(CopilotError, match="not started, because paris-1 failed"), turn(str(tmp_path), 1, 0):
        pytest.fail("it began")
    (tmp_path / "turns-failed").unlink()
    seen = together(tmp_path, 1, bad="host-3")
    refused = list(tmp_path.glob("refused-*"))
    assert len(seen) + len(refused) == 6
    assert all("host-3 failed" in one.read_text() for one in refused)


def test_a_turn_goes_with_its_process(tmp_path: Path) -> None:
    def die() -> None:
        with turn(str(tmp_path), 1, 0):
            (tmp_path / "held").touch()
            time.sleep(60)

    process = FORK.Process(target=die)
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    with turn(str(tmp_path), 1, 0):
        pass


def hold(folder: str, begun: Event, end: Event) -> None:
    with turn(folder, 1, 0):
        begun.set()
        end.wait(30)


def start_another(folder: str) -> None:
    """Starts a process that waits for its turn, and dies before that comes."""
    FORK.Process(target=work, args=(folder, 1, 7, "")).start()
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def test_who_waits_does_nothing_after_the_play_was_killed(tmp_path: Path) -> None:
    begun, end, refused = FORK.Event(), FORK.Event(), tmp_path / "refused-host-7"
    holder = FORK.Process(target=hold, args=(str(tmp_path), begun, end))
    holder.start()
    assert begun.wait(30)
    play = FORK.Process(target=start_another, args=(str(tmp_path),))
    play.start()
    assert play.pid
    os.waitpid(play.pid, 0)  # join() would wait for the other process, too
    end.set()
    holder.join(30)
    until = time.monotonic() + 30
    while not refused.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert refused.read_text() == "not started, because the run was killed: this host keeps running unchanged"
    assert not (tmp_path / "seen").exists()
