# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs cmake and Ninja as an unprivileged user, and follows their steps.

That user may write to the build directory, so that nothing there is opened by us: the log and the lock lie elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import append_to, require_own
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import compile_jobs
from ansible_collections.slm.copilot.plugins.module_utils._host.limits import usable_cpus
from ansible_collections.slm.copilot.plugins.module_utils._host.meminfo import memory_mib

STEP = re.compile(r"^\[(\d+)/(\d+)\] ", re.MULTILINE)
COMPILER = re.compile(r"The CXX compiler identification is (.+)")
LINES_IN_ERROR = 30


def run(command: list[str], user: str, build_dir: Path, log_path: Path, progress: ProgressFile) -> bool:
    """Runs a command as the user, keeps its output in the log, and follows Ninja's steps.

    :returns: whether Ninja had anything to do.
    :raises CopilotError: with the end of the output, when the command fails.
    """
    account = pwd.getpwnam(user)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(build_dir), "LC_ALL": "C.UTF-8"}
    tail: deque[str] = deque(maxlen=LINES_IN_ERROR)
    worked = False
    # Drop to the unprivileged user only where we are somebody else.
    somebody_else = os.geteuid() != account.pw_uid
    drop: dict[str, Any] = {"user": user, "group": account.pw_gid, "extra_groups": []} if somebody_else else {}
    with (
        append_to(log_path) as log,
        subprocess.Popen(
            command,
            cwd=build_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **drop,
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            tail.append(line.rstrip())
            if step := STEP.match(line):
                worked = True
                progress.update("compiling", int(step[1]), int(step[2]), "steps")
    if process.returncode != 0:
        raise CopilotError(
            f"{command[0]} failed ({process.returncode}); all of its output is in {log_path} on the host. "
            "It ends with:\n" + "\n".join(tail)
        )
    return worked


def wait_for(lock: IO[str], log: Path, progress: ProgressFile) -> None:
    """Takes the lock; while another run has it, shows how far that one is."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            steps = STEP.findall(end_of(log))
            done, total = steps[-1] if steps else (0, None)
            progress.update("another run is compiling here", int(done), total and int(total), "steps")
            time.sleep(2)


def end_of(log: Path) -> str:
    """Returns the last lines of a log; nothing when the run that will write it has not begun to."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4096))
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def build(
    source_dir: str,
    build_dir: Path,
    log_dir: Path,
    user: str,
    targets: Sequence[str],
    options: Mapping[str, Any],
    jobs: int,
    progress: ProgressFile,
) -> dict[str, Any]:
    """Configures and compiles, and returns whether anything was compiled, with how many jobs, in how many seconds and by what.

    :param user: the account that compiles. It owns the build directory, and must not own the one of the log.
    :param options: definitions of cmake.
    :param jobs: how many at most; 0: as many as processors and memory allow.
    :raises CopilotError: if a step fails, with the end of its log.
    """
    require_own(log_dir, "log_dir")
    log = log_dir / "build.log"
    jobs = compile_jobs(jobs, usable_cpus(), memory_mib("MemAvailable"))
    started = time.monotonic()
    with append_to(log_dir / ".lock") as lock:
        wait_for(lock, log, progress)
        progress.update("configuring", 0, None, "steps")
        definitions = [f"-D{name}={value}" for name, value in sorted(options.items())]
        run(["cmake", "-G", "Ninja", "-S", source_dir, "-B", ".", *definitions], user, build_dir, log, progress)
        worked = run(["ninja", f"-j{jobs}", *targets], user, build_dir, log, progress)
    compiler = COMPILER.search(log.read_text(errors="replace"))
    return {
        "changed": worked,
        "jobs": jobs,
        "seconds": round(time.monotonic() - started, 1),
        "compiler": compiler[1] if compiler else "unknown",
    }
