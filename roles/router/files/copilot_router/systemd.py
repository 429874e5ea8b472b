# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd is told, and what it gives."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def ready() -> None:
    """Tells systemd, if it waits for that, that the service is ready."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + path[1:] if path.startswith("@") else path)


def listen_no_more() -> None:
    """Closes the socket that systemd gave, of which uvicorn closes only its own copy: nobody is to wait there for who ends."""
    if os.environ.get("LISTEN_FDS"):
        with suppress(OSError):
            os.close(3)
