# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Limits how many hosts of a play do something at the same time, and stops the others after a failure.

The tasks of a play's hosts are processes on one machine, which share a folder while the play runs. There is one lock for each
host that may be active at the same time. Hosts begin in the order of the inventory, so that the next run begins with the host at
which this one failed. The end of a process releases its lock. These processes survive the play's own if that is killed; those
whose turn has not come then do nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

POLL_SECONDS = 0.2
GATHERING_SECONDS = 2.0  # until the first one begins: hosts reach the same task at about the same time
FAILED = "turns-failed"
BATCH = re.compile(r"([1-9][0-9]*)(%?)")


def permits(batch: str, hosts: int) -> int:
    """Returns how many of the hosts may be active at the same time, at least one.

    :param batch: a number, or a percentage such as ``25%``.
    :raises CopilotError: for anything else.
    """
    found = BATCH.fullmatch(str(batch).strip())
    if not found or (found[2] and int(found[1]) > 100):
        raise CopilotError(f"{batch!r} is not a number of hosts such as 1 or 25%")
    return max(1, hosts * int(found[1]) // 100) if found[2] else int(found[1])


@contextmanager
def turn(folder: str, number: int, place: int, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Holds one of the given number of locks, which those who wait get in the order of their places.

    :param folder: shared by all who take turns.
    :raises CopilotError: when somebody had failed by then, naming who, or the play was killed.
    """
    held, play = None, os.getppid()
    waits = _open(folder, f"waits-{place}")
    try:
        fcntl.flock(waits, fcntl.LOCK_EX)
        if place:
            sleep(GATHERING_SECONDS)
        while held is None:
            _stop_after_failure(folder)
            if not any(_waits(folder, earlier) for earlier in range(place)):
                held = _try_any(folder, number)
            if held is None:
                sleep(POLL_SECONDS)
        fcntl.flock(waits, fcntl.LOCK_UN)
        _stop_after_failure(folder)
        if os.getppid() != play:
            raise CopilotError("not started, because the run was killed: this host keeps running unchanged")
        yield
    finally:
        os.close(waits)
        if held is not None:
            os.close(held)


def fail(folder: str, who: str) -> None:
    """Records a failure; no further host starts."""
    Path(folder, FAILED).write_text(who, encoding="utf-8")


def _stop_after_failure(folder: str) -> None:
    mark = Path(folder, FAILED)
    if mark.exists():
        raise CopilotError(f"not started, because {mark.read_text(encoding='utf-8')} failed: this host keeps running unchanged")


def _try_any(folder: str, number: int) -> int | None:
    return next((held for one in range(number) if (held := _try(folder, str(one), fcntl.LOCK_EX)) is not None), None)


def _waits(folder: str, place: int) -> bool:
    """Whether the host at this place waits for its turn."""
    mine = _try(folder, f"waits-{place}", fcntl.LOCK_SH)
    if mine is not None:
        os.close(mine)
    return mine is None


def _try(folder: str, name: str, kind: int) -> int | None:
    """Takes a lock, unless somebody has it."""
    descriptor = _open(folder, name)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(folder: str, name: str) -> int:
    return os.open(os.path.join(folder, f"turns-{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
