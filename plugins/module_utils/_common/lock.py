# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lock, so that only one run at a time changes a folder on the controller, or restarts a service of a host."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

FILE = ".lock"
PATIENCE = 60.0


@contextlib.contextmanager
def locked(
    folder: Path | str, patience: float = PATIENCE, *, file: str = FILE, waits: Callable[[], None] = lambda: None
) -> Iterator[tuple[int, ...]]:
    """Locks a folder, also for other machines that share it, until the block ends or the process dies.

    Who may not write there, or finds no folder, can change nothing, and is let through to what it can do.

    :param patience: how long to wait for another, in seconds.
    :param file: name of the lock there.
    :param waits: called again and again while another has the lock.
    :returns: the descriptor of the lock, if there is one. A program that inherits it has the lock, too.
    :raises CopilotError: when another keeps the folder, naming it, or when the file system has no locks.
    """
    path = Path(folder, file)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield ()
        return
    try:
        _take(descriptor, path, time.monotonic() + patience, waits)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _self().encode(), 0)
        yield (descriptor,)
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, until: float, waits: Callable[[], None]) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "one that does not say who it is"
                raise CopilotError(
                    f"another run is at work in {path.parent}: {holder}. Wait for its end, or end what has {path} open if it "
                    "hangs, and run again. This one changed nothing there."
                ) from None
            waits()
            time.sleep(0.1)
        except OSError as error:
            raise CopilotError(
                f"{path} cannot be locked ({error.strerror}), so two runs at once could create two CAs: keep the folder on a "
                "file system that has locks"
            ) from None


def _self() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        user = f"user id {os.getuid()}"
    return f"process {os.getpid()} of {user} on {socket.gethostname()}, since {now:%Y-%m-%d %H:%M:%S} UTC\n"
