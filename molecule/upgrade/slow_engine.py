# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stops llama-server again and again, as if its model were larger. Not in all containers CPUQuota works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

PROCESS = ["systemctl", "show", "--property=MainPID", "--value", "slm-copilot.service"]
STOPS = Path("/etc/slow-engine")  # for how many seconds at a time
COMPUTES = 0.05  # seconds in between

while True:
    stops = float(STOPS.read_text(encoding="ascii"))
    pid = int(subprocess.run(PROCESS, stdout=subprocess.PIPE, text=True, check=False).stdout or 0)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(stops)
                os.kill(pid, signal.SIGCONT)
        time.sleep(COMPUTES)
