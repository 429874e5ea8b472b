# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps pinned models loaded while llama-server's router makes room for others.

The router ends the model that was used longest ago among those without a request under way, and knows no exception. So each
pinned model has a request under way at all times: one that costs no computing (the prompt of a long message is asked for), and
whose answer is longer than the system's buffers and is never read. A model that is gone is loaded again by the same request.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import sys
import time
from pathlib import Path

LOOK_SECONDS = 3.0  # between two looks at the models
WINDOW_BYTES = 4096
BUFFERS = Path("/proc/sys/net/ipv4/tcp_wmem")  # least, usual and largest size of the router's buffer for an answer
LARGEST_BUFFER = 4 << 20  # where the kernel does not say it
MORE_THAN_BUFFERS = 2 << 20


class Connection(http.client.HTTPConnection):
    """Connects to the loopback address; with a CA, verifies the certificate for the name that clients use."""

    def __init__(self, name: str, port: int, ca: str | None) -> None:
        super().__init__(name, port, timeout=60)
        self._tls = ssl.create_default_context(cafile=ca) if ca else None
        if self._tls:
            self._tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # one certificate is enough, be it a CA's or the server's own

    def connect(self) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(self.timeout)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        self.sock.connect(("127.0.0.1", self.port))
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


def first_key(path: str) -> str:
    """Returns the first key of a file of llama-server's keys."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return next(line for line in lines if line and not line.startswith("#"))


def answer_bytes() -> int:
    """Returns a size that the buffers between the router and us cannot take."""
    try:
        largest = int(BUFFERS.read_text().split()[2])
    except (OSError, ValueError, IndexError):
        largest = LARGEST_BUFFER
    return largest + MORE_THAN_BUFFERS


class Keeper:
    """One request under way for each pinned model."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        # The answers that are not read, and when they began. A connection lives on in its answer alone.
        self._held: dict[str, tuple[http.client.HTTPResponse, float]] = {}

    def _request(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        connection = Connection(self._options.name, self._options.port, self._options.ca)
        headers = {"Authorization": f"Bearer {first_key(self._options.key_file)}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        return connection.getresponse()

    def look(self) -> None:
        """Begins a request for each pinned model that has none, whose request is old, or that is not loaded."""
        response = self._request("GET", "/models")
        states = {one["id"]: one["status"]["value"] for one in json.loads(response.read())["data"]}
        for model in self._options.models:
            since = self._held[model][1] if model in self._held else -self._options.renew
            if states.get(model) != "loaded" or time.monotonic() - since >= self._options.renew:
                self._hold(model)

    def _hold(self, model: str) -> None:
        message = {"role": "user", "content": "x" * answer_bytes()}
        response = self._request("POST", "/apply-template", {"model": model, "messages": [message]})
        if response.status != http.client.OK:
            said = response.read(300).decode(errors="replace")
            raise OSError(f"{model}: llama-server answered {response.status}: {said}")
        old = self._held.pop(model, None)
        self._held[model] = (response, time.monotonic())
        if old:
            old[0].close()
        print(f"{model} is kept loaded", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="localhost", help="name or address that the certificate must have")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--ca", help="CA certificates in PEM form; without it the server is asked in plain HTTP")
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--renew", required=True, type=float, help="seconds after which a request gives way to a new one")
    parser.add_argument("models", nargs="+")
    keeper = Keeper(parser.parse_args())
    while True:
        try:
            keeper.look()
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            print(f"not kept for the moment: {error}", file=sys.stderr, flush=True)
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
