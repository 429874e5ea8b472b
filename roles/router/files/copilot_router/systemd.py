# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd: readiness notification and socket activation."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def ready() -> None:
    """Notifies systemd that the service is ready, if systemd expects it."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + path[1:] if path.startswith("@") else path)


def listen_no_more() -> None:
    """Closes the socket from systemd, of which uvicorn closes only a copy, so that no connection waits for this process."""
    if os.environ.get("LISTEN_FDS"):
        with suppress(OSError):
            os.close(3)
