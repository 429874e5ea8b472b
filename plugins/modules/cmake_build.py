#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cmake_build
short_description: Compile a cmake project, with progress on the terminal
version_added: 0.1.0
description:
  - Configures a project with cmake and compiles targets of it with Ninja, as an unprivileged user.
  - While it runs, a line with the percentage, the rate and the time left is shown at least every 15 seconds.
  - A build that was cut off goes on where it stopped. A second run against the same build directory waits for the first.
requirements:
  - cmake, ninja and a compiler on the host
options:
  source_dir:
    description: Directory of the project's C(CMakeLists.txt).
    type: path
    required: true
  build_dir:
    description: Directory for what the build makes. It must belong to O(user). The output is kept there in C(build.log).
    type: path
    required: true
  options:
    description: cmake cache variables.
    type: dict
    default: {}
  targets:
    description: What to compile.
    type: list
    elements: str
    required: true
  jobs:
    description:
      - How many compiler processes run at once. 0 means one for each CPU.
      - There are never more than the CPUs, and never more than free memory allows (1536 MiB for each).
    type: int
    default: 0
  user:
    description: Who compiles.
    type: str
    required: true
  progress_file:
    description: Set by the action plugin; where the module says how far it is.
    type: path
attributes:
  check_mode:
    support: partial
    description: In check mode it says that it would compile, and does nothing.
  diff_mode:
    support: none
    description: A build has no diff.
  idempotent:
    support: full
    description: Changes nothing when all targets are up to date.
  action:
    support: full
    description: An action plugin runs it in the background and shows its progress.
  async:
    support: none
    description: The action plugin does that itself.
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Compile llama-server
  slm.copilot.cmake_build:
    source_dir: /var/cache/slm-copilot/source
    build_dir: /var/cache/slm-copilot/build
    options:
      CMAKE_BUILD_TYPE: Release
    targets: [llama-server]
    user: slm-copilot-build
"""

RETURN = r"""
jobs:
  description: How many compiler processes ran at once.
  returned: success
  type: int
  sample: 2
seconds:
  description: How long configuring and compiling took, in seconds.
  returned: success
  type: float
  sample: 634.2
compiler:
  description: The C++ compiler, as cmake found it.
  returned: success
  type: str
  sample: GNU 12.2.0
"""

import fcntl
import os
import pwd
import re
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import IO, Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._engine import compile_jobs
from ansible_collections.slm.copilot.plugins.module_utils._errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._progress import ProgressFile

STEP = re.compile(r"^\[(\d+)/(\d+)\] ", re.MULTILINE)
COMPILER = re.compile(r"The CXX compiler identification is (.+)")
LINES_IN_ERROR = 30


def run(command: list[str], user: str, build_dir: Path, progress: ProgressFile) -> bool:
    """Runs a command as the user, keeps its output in build.log, and follows Ninja's steps.

    :returns: whether Ninja had anything to do.
    :raises CopilotError: with the end of the output, when the command fails.
    """
    account = pwd.getpwnam(user)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(build_dir), "LC_ALL": "C.UTF-8"}
    tail: deque[str] = deque(maxlen=LINES_IN_ERROR)
    worked = False
    process = subprocess.Popen(
        command,
        cwd=build_dir,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Drop to the unprivileged user only where we are somebody else.
        **({} if os.geteuid() == account.pw_uid else {"user": user, "group": account.pw_gid, "extra_groups": []}),
    )
    assert process.stdout is not None
    with (build_dir / "build.log").open("a") as log:
        for line in process.stdout:
            log.write(line)
            tail.append(line.rstrip())
            if step := STEP.match(line):
                worked = True
                progress.update("compiling", int(step[1]), int(step[2]), "steps")
    if process.wait() != 0:
        raise CopilotError(
            f"{command[0]} failed ({process.returncode}); all of its output is in {build_dir}/build.log on the host. "
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
            with log.open("rb") as stream:
                stream.seek(max(0, log.stat().st_size - 4096))
                steps = STEP.findall(stream.read().decode(errors="replace"))
            done, total = steps[-1] if steps else (0, None)
            progress.update("another run is compiling here", int(done), total and int(total), "steps")
            time.sleep(2)


def free_memory_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def build(params: dict[str, Any], progress: ProgressFile) -> dict[str, Any]:
    build_dir = Path(params["build_dir"])
    jobs = compile_jobs(params["jobs"], len(os.sched_getaffinity(0)), free_memory_mib())
    started = time.monotonic()
    with (build_dir / ".lock").open("w") as lock:
        wait_for(lock, build_dir / "build.log", progress)
        progress.update("configuring", 0, None, "steps")
        options = [f"-D{name}={value}" for name, value in sorted(params["options"].items())]
        run(
            ["cmake", "-G", "Ninja", "-S", params["source_dir"], "-B", ".", *options],
            params["user"],
            build_dir,
            progress,
        )
        worked = run(["ninja", f"-j{jobs}", *params["targets"]], params["user"], build_dir, progress)
    compiler = COMPILER.search((build_dir / "build.log").read_text(errors="replace"))
    return {
        "changed": worked,
        "jobs": jobs,
        "seconds": round(time.monotonic() - started, 1),
        "compiler": compiler[1] if compiler else "unknown",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source_dir": {"type": "path", "required": True},
            "build_dir": {"type": "path", "required": True},
            "options": {"type": "dict", "default": {}},
            "targets": {"type": "list", "elements": "str", "required": True},
            "jobs": {"type": "int", "default": 0},
            "user": {"type": "str", "required": True},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        module.exit_json(**build(module.params, ProgressFile(module.params["progress_file"])))
    except (CopilotError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
