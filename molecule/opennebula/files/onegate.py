# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stand-in for OpenNebula's OneGate: takes PUT /vm with a token, and shows at GET /_seen what it took."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from contexts import STARTED, TOKEN_PASSWORD
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

seen: list[dict[str, object]] = []


def vm_of(token: str) -> tuple[str, str]:
    """Returns id and start time of the VM that a token was made for."""
    decryptor = Cipher(algorithms.AES(TOKEN_PASSWORD[:32].encode()), modes.CBC(bytes(16))).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    plain = unpadder.update(decryptor.update(base64.b64decode(token)) + decryptor.finalize()) + unpadder.finalize()
    vmid, _colon, started = plain.decode().partition(":")
    return vmid, started


class OneGate(BaseHTTPRequestHandler):
    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:
        self.answer(200, json.dumps(seen))

    def do_PUT(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), strict_parsing=True)
        vmid = self.headers["X-ONEGATE-VMID"]
        try:
            known = vm_of(self.headers["X-ONEGATE-TOKEN"]) == (vmid, str(STARTED))
        except ValueError:
            known = False
        if not known or self.path != "/vm" or body.get("type") != ["1"]:
            self.answer(401 if not known else 400, "no")
            return
        seen.append({"vm": vmid, "attributes": dict(line.split("=", 1) for line in body["data"][0].split("\\n"))})
        self.answer(200, "")


ThreadingHTTPServer(("0.0.0.0", 5030), OneGate).serve_forever()
