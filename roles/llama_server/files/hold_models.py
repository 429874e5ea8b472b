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
import sys
import time

LOOK_SECONDS = 3.0  # between two looks at the models
# More than the buffers between the router and us can take: net.core.wmem_default, 208 KiB unless somebody raised it.
ANSWER_BYTES = 6 << 20


class Connection(http.client.HTTPConnection):
    """Connects to llama-server's Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Keeper:
    """One request under way for each pinned model."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        # The answers that are not read, and when they began. A connection lives on in its answer alone.
        self._held: dict[str, tuple[http.client.HTTPResponse, float]] = {}

    def _request(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        connection = Connection(self._options.socket)
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
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
        message = {"role": "user", "content": "x" * ANSWER_BYTES}
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
    parser.add_argument("--socket", required=True, help="the Unix socket of llama-server")
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
