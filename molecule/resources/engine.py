# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-server, or the router before it, asked on its host by its Unix socket, which nothing else stands before."""

from __future__ import annotations

import json
from typing import Any

from testinfra.host import Host

SOCKET = "/run/slm-copilot/llama-server.sock"
ROUTER_SOCKET = "/run/slm-copilot-router/router.sock"
ASK = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
head = {"Content-Type": "application/json", "X-Copilot-User": "root", "X-Copilot-Role": "admin"}
connection.request("POST" if sys.argv[3] else "GET", sys.argv[2], sys.argv[3] or None, head)
print(connection.getresponse().read().decode())
"""


def ask(host: Host, path: str, body: Any = None, *, at: str = SOCKET) -> Any:
    """Returns what it answers an administrator to a GET, or to a POST of the body."""
    return json.loads(host.check_output("python3 -c %s %s %s %s", ASK, at, path, json.dumps(body) if body else ""))


def slots_busy(host: Host) -> int:
    """Returns how many of its slots compute."""
    return sum(slot["is_processing"] for slot in ask(host, "/slots"))
