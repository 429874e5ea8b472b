# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stops a service temporarily, so that nothing can leave it stopped.

A transient unit that conflicts with the service stops it, and runs as long as this process. When the unit ends, for whatever
reason, systemd starts the service again: after the work, when this process is killed, or after the timeout. After a reboot, the
host starts its enabled services anyway.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

# One that loads its model takes as much of the processor as one that answers, and more of the disk.
RUNNING = ("active", "activating", "reloading", "refreshing")
Run = Callable[[list[str]], "tuple[int, str]"]


def run_command(command: list[str]) -> tuple[int, str]:
    """Returns the exit status and the output of a command."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


def guard_command(guard: str, service: str, pid: int, seconds: int) -> list[str]:
    """Returns the command that starts the transient unit, and returns when the service is stopped."""
    return [
        *("systemd-run", "--quiet", "--collect", f"--unit={guard}"),
        f"--description={service} is stopped for a while; systemctl stop {guard} starts it again",
        *(f"--property=Conflicts={service}", f"--property=After={service}", f"--property=RuntimeMaxSec={seconds}"),
        f"--property=ExecStopPost=/usr/bin/env systemctl --no-block start {service}",
        *("tail", f"--pid={pid}", "--follow", "/dev/null"),
    ]


@contextmanager
def interrupted(service: str, guard: str, seconds: int, run: Run = run_command) -> Iterator[None]:
    """Stops a service for at most so many seconds. A service that was not running is not touched.

    :param guard: name of the transient unit.
    :raises CopilotError: when the service cannot be stopped; it runs then. And when it does not start again.
    """
    if run(["systemctl", "is-active", service])[1] not in RUNNING:
        yield
        return
    status, said = run(guard_command(guard, service, os.getpid(), seconds))
    if status != 0:
        run(["systemctl", "start", service])
        raise CopilotError(f"{service} cannot be stopped for the measurement, and keeps running: {said[-500:]}")
    try:
        yield
    finally:
        run(["systemctl", "stop", guard])
        status, said = run(["systemctl", "start", service])  # it starts already; this waits until it serves
    if status != 0:
        raise CopilotError(f"{service} does not start again: {said[-500:]} Look at journalctl -u {service}.")
