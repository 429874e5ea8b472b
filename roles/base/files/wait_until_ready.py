# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until a service of this host is ready: says so at /health, lists its models (--list), or answers a question (--chat).

A llama-server of several models answers sooner: then the models that it loads at its start are waited for (--models).

systemd runs it after the service's start and counts the start as done when it returns 0. It gives up as soon as the service's
process (MAINPID, set by systemd) is gone: to wait on would hide the failure until the time-out.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
import time
from typing import Any

PAUSE = 0.5  # seconds between two tries
# LiteLLM believes whoever can reach its socket about who asks. llama-server takes no notice.
HEADERS = {"Content-Type": "application/json", "X-Copilot-User": "readiness", "X-Copilot-Role": "developer"}


class UnixConnection(http.client.HTTPConnection):
    """Connects to a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Failed(Exception):
    """Waiting on is of no use."""


class Service:
    """The service, and how it is spoken to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._socket, self._list, self._chat = options.socket, options.list, options.chat
        self._models = options.models.split(",") if options.models else []

    def check(self, patience: float) -> None:
        """Returns when all is well. Raises OSError, HTTPException or ValueError otherwise, and Failed when it never will be.

        :param patience: seconds that the answer to a question may take.
        """
        if not (self._list or self._chat):
            self._ask("GET", "/health")
            if self._models:
                self._check_loaded(json.loads(self._ask("GET", "/models"))["data"])
            return
        models = json.loads(self._ask("GET", "/v1/models"))["data"]
        if self._chat:
            question = {"model": models[0]["id"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
            self._ask("POST", "/v1/chat/completions", question, max(10.0, patience))

    def _check_loaded(self, known: list[dict[str, Any]]) -> None:
        states = {one["id"]: one["status"] for one in known}
        for name in self._models:
            status = states.get(name, {"value": "unknown"})
            if status.get("failed"):
                raise Failed(f"the model {name} cannot be loaded")
            # One that sleeps was loaded, and gave its memory back for want of requests.
            if status["value"] not in ("loaded", "sleeping"):
                raise OSError(f"the model {name} is {status['value']}")

    def _ask(self, method: str, path: str, body: Any = None, timeout: float = 10.0) -> bytes:
        connection = UnixConnection(self._socket, timeout)
        try:
            connection.request(method, path, body and json.dumps(body), HEADERS)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise OSError(f"{method} {path} answered {answer.status}: {text.decode(errors='replace')[:500]}")
        return text


def alive(pid: str | None) -> bool:
    try:
        return pid is None or os.kill(int(pid), 0) is None
    except ProcessLookupError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True, help="its Unix socket")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--models", help="models that must be loaded, with commas between")
    what.add_argument("--list", action="store_true", help="have it list its models, rather than ask /health")
    what.add_argument("--chat", action="store_true", help="ask a question as well")
    parser.add_argument("--timeout", required=True, type=float, help="seconds")
    options = parser.parse_args()
    service = Service(options)
    end = time.monotonic() + options.timeout
    while alive(os.environ.get("MAINPID")):
        try:
            service.check(end - time.monotonic())
            return 0
        except (Failed, OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, Failed) or time.monotonic() > end:
                print(f"not ready: {error}", file=sys.stderr)
                return 1
        time.sleep(PAUSE)
    print("not ready: the service has exited", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
