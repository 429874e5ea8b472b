# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until llama-server on this host answers /health with 200, which it does once its model is loaded.

systemd runs it after the server's start and counts the start as done when it returns 0. It gives up as soon as the server
process (MAINPID, set by systemd) is gone: to wait on would hide the failure until the time-out.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import ssl
import sys
import time

PAUSE = 0.5  # seconds between two tries


class LocalConnection(http.client.HTTPSConnection):
    """Connects to the loopback address, and verifies the certificate for the name that clients use."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


def trusting(ca: str) -> ssl.SSLContext:
    """Returns a context for which a certificate in the file is enough, be it a CA's or the server's own."""
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def healthy(name: str, port: int, ca: str | None) -> tuple[bool, str]:
    """Returns whether the server is ready, and what was seen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        if ca:
            connection = LocalConnection(name, port, timeout=10, context=trusting(ca))
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return False, str(error)
    finally:
        connection.close()
    return status == http.client.OK, f"/health answered {status}"


def alive(pid: str | None) -> bool:
    try:
        return pid is None or os.kill(int(pid), 0) is None
    except ProcessLookupError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="localhost", help="name or address that the certificate must have")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--ca", help="certificates in PEM form, of a CA or the server's own; without it: plain HTTP")
    parser.add_argument("--timeout", required=True, type=float, help="seconds")
    options = parser.parse_args()
    end = time.monotonic() + options.timeout
    while alive(os.environ.get("MAINPID")):
        ready, seen = healthy(options.name, options.port, options.ca)
        if ready:
            return 0
        if "certificate verify failed" in seen or time.monotonic() > end:
            print(f"not ready: {seen}", file=sys.stderr)
            return 1
        time.sleep(PAUSE)
    print("not ready: the server has exited", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
