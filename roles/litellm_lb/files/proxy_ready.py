# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until the proxy on this host lets its readiness key in, and with --chat until a backend answers a question.

systemd runs it after the proxy's start and counts the start as done when it returns 0. It gives up as soon as the proxy's process
(MAINPID, set by systemd) is gone: to wait on would hide the failure until the time-out.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PAUSE = 0.5  # seconds between two tries


def ask(port: int, key: str, method: str, path: str, body: Any, timeout: float) -> Any:
    """Returns the answer's JSON. Raises OSError with what was wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body and json.dumps(body), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        if answer.status != http.client.OK:
            raise OSError(f"{method} {path} answered {answer.status}: {text[:500]}")
        return json.loads(text)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{method} {path} answered something else: {error}") from error
    finally:
        connection.close()


def try_once(port: int, key: str, chat: bool, timeout: float) -> None:
    """Returns when all is well. Raises OSError otherwise."""
    models = [one["id"] for one in ask(port, key, "GET", "/v1/models", None, 10)["data"]]
    if chat:
        question = {"model": models[0], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        ask(port, key, "POST", "/v1/chat/completions", question, timeout)


def alive(pid: str | None) -> bool:
    try:
        return pid is None or os.kill(int(pid), 0) is None
    except ProcessLookupError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--key-file", required=True, type=Path, help="file with the readiness key")
    parser.add_argument("--chat", action="store_true", help="also ask a question, which a backend must answer")
    parser.add_argument("--timeout", required=True, type=float, help="seconds")
    options = parser.parse_args()
    key = next(line for line in options.key_file.read_text().splitlines() if line and not line.startswith("#"))
    end = time.monotonic() + options.timeout
    while alive(os.environ.get("MAINPID")):
        try:
            try_once(options.port, key, options.chat, max(10.0, end - time.monotonic()))
            return 0
        except OSError as error:
            if time.monotonic() > end:
                print(f"not ready: {error}", file=sys.stderr)
                return 1
        time.sleep(PAUSE)
    print("not ready: the proxy has exited", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
