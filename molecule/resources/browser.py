# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a page in headless Chromium, on a host: python3 browser.py URL PICTURE WIDTH HEIGHT light|dark

Prints what it saw as JSON: the page's text, how wide it is, its colours, and what it fetched. Needs nothing but Python and
Debian's package chromium-headless-shell. Certificates are verified by what the account's NSS store trusts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

PROGRAM = "/usr/bin/chromium-headless-shell"
SEEN = """JSON.stringify({
  text: document.body.innerText, title: document.title, width: document.documentElement.scrollWidth,
  paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
  fetched: performance.getEntriesByType('resource').map(one => one.name)})"""


class Browser:
    """One Chromium, which is told what to do through a pipe."""

    def __init__(self) -> None:
        commands, self._send = os.pipe()
        self._receive, answers = os.pipe()
        self._folder = tempfile.TemporaryDirectory()
        options = ["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}"]
        pipes = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'  # Chromium reads from 3 and writes to 4
        self._process = subprocess.Popen(
            ["sh", "-c", pipes, PROGRAM, *options],
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._rest = 0, b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def wait(self, event: str) -> None:
        while self._read().get("method") != event:
            pass

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._receive, 1 << 16)
            if not piece:
                raise RuntimeError("Chromium has ended")
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(line))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def main() -> None:
    url, picture, width, height, scheme = sys.argv[1:]
    browser = Browser()
    try:
        browser.ask("Page.enable")
        size = {"width": int(width), "height": int(height), "deviceScaleFactor": 1, "mobile": int(width) < 600}
        browser.ask("Emulation.setDeviceMetricsOverride", **size)
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        error = browser.ask("Page.navigate", url=url).get("errorText")
        if error:
            raise RuntimeError(f"{url}: {error}")
        browser.wait("Page.loadEventFired")
        seen = json.loads(browser.ask("Runtime.evaluate", expression=SEEN)["result"]["value"])
        with open(picture, "wb") as file:
            file.write(base64.b64decode(browser.ask("Page.captureScreenshot", format="png")["data"]))
        print(json.dumps(seen))
    finally:
        browser.close()


if __name__ == "__main__":
    main()
