# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until llama-server on this host answers /health with 200, which it does once its model is loaded.

A router of several models answers sooner: then the models that it loads at its start are waited for.

systemd runs it after the server's start and counts the start as done when it returns 0. It gives up as soon as the server
process (MAINPID, set by systemd) is gone: to wait on would hide the failure until the time-out.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import ssl
import sys
import time
from pathlib import Path

PAUSE = 0.5  # seconds between two tries


class LocalConnection(http.client.HTTPSConnection):
    """Connects to the loopback address, and verifies the certificate for the name that clients use."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


class Failed(Exception):
    """Waiting on is of no use."""


def get(options: argparse.Namespace, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Returns the status and the body of an answer."""
    connection: http.client.HTTPConnection
    if options.ca:
        context = ssl.create_default_context(cafile=options.ca)
        connection = LocalConnection(options.name, options.port, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def first_key(path: str) -> str:
    """Returns the first key of a file of llama-server's keys."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def loaded(body: bytes, wanted: list[str]) -> tuple[bool, str]:
    """Returns whether a router has these models loaded, by what it says of all. Raises Failed when one cannot be loaded."""
    states = {one["id"]: one["status"] for one in json.loads(body)["data"]}
    for name in wanted:
        status = states.get(name, {"value": "unknown"})
        if status.get("failed"):
            raise Failed(f"the model {name} cannot be loaded")
        # One that sleeps was loaded, and gave its memory back for want of requests.
        if status["value"] not in ("loaded", "sleeping"):
            return False, f"the model {name} is {status['value']}"
    return True, "all are loaded"


def healthy(options: argparse.Namespace) -> tuple[bool, str]:
    """Returns whether the server is ready, and what was seen."""
    try:
        status, _body = get(options, "/health", {})
        if status != http.client.OK or not options.models:
            return status == http.client.OK, f"/health answered {status}"
        status, body = get(options, "/models", {"Authorization": f"Bearer {first_key(options.key_file)}"})
        if status != http.client.OK:
            return False, f"/models answered {status}"
        return loaded(body, options.models.split(","))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return False, str(error)


def alive(pid: str | None) -> bool:
    try:
        return pid is None or os.kill(int(pid), 0) is None
    except ProcessLookupError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="localhost", help="name or address that the certificate must have")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--ca", help="CA certificates in PEM form; without it the server is asked in plain HTTP")
    parser.add_argument("--models", help="models of a router that must be loaded, with commas between")
    parser.add_argument("--key-file", help="file of keys, of which a router takes the first one")
    parser.add_argument("--timeout", required=True, type=float, help="seconds")
    options = parser.parse_args()
    end = time.monotonic() + options.timeout
    while alive(os.environ.get("MAINPID")):
        try:
            ready, seen = healthy(options)
        except Failed as failure:
            print(f"not ready: {failure}", file=sys.stderr)
            return 1
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
