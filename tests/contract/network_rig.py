# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that are network namespaces of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

# Whoever is not root is root in a user namespace of their own.
USER = [] if os.geteuid() == 0 else ["--user"]


class Namespace:
    """A host as its network sees it."""

    def __init__(self, *command: str) -> None:
        self._holder = subprocess.Popen([*command, "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline(), "the kernel makes no network namespace"
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> str:
        return str(self._holder.pid)

    def command(self, *command: str | Path) -> list[str | Path]:
        return ["nsenter", "--target", self.pid, *USER, "--net", *(["--preserve-credentials"] if USER else []), "--", *command]

    def run(self, *command: str | Path, given: str | None = None) -> str:
        done = subprocess.run(self.command(*command), input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
