# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stand-in for OpenNebula's OneGate, which checks tokens as the real one does: the VM, and since when it runs.

Tests see the attributes of all VMs at GET /_attributes, and change what is not a VM's to say by PUT /_control: ``roles`` of the
service (names and ids of VMs), ``started`` (time by VM, so that older tokens have ended), ``failing`` (it answers 500).
"""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from contexts import STARTED, TOKEN_PASSWORD
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

control: dict[str, Any] = {"roles": {}, "started": {}, "failing": False}
attributes: dict[str, dict[str, str]] = {}  # USER_TEMPLATE of each VM


def vm_of(token: str) -> tuple[str, str]:
    """Returns id and start time of the VM that a token was made for."""
    decryptor = Cipher(algorithms.AES(TOKEN_PASSWORD[:32].encode()), modes.CBC(bytes(16))).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    plain = unpadder.update(decryptor.update(base64.b64decode(token)) + decryptor.finalize()) + unpadder.finalize()
    vmid, _colon, started = plain.decode().partition(":")
    return vmid, started


def vm(vmid: str) -> dict[str, Any]:
    template = {"NIC": [{"IP": f"10.89.88.{vmid}"}]}
    return {
        "VM": {
            "NAME": vmid,
            "ID": vmid,
            "STATE": "3",
            "LCM_STATE": "3",
            "USER_TEMPLATE": attributes.get(vmid, {}),
            "TEMPLATE": template,
        }
    }


def service() -> dict[str, Any]:
    roles = [
        {"name": name, "cardinality": len(ids), "state": 2, "nodes": [{"deploy_id": int(one), "running": True} for one in ids]}
        for name, ids in control["roles"].items()
    ]
    return {"SERVICE": {"name": "copilot", "id": "1", "state": 2, "roles": roles}}


class OneGate(BaseHTTPRequestHandler):
    def answer(self, status: int, content: Any = None) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"" if content is None else json.dumps(content).encode())

    def body(self) -> str:
        return self.rfile.read(int(self.headers["Content-Length"])).decode()

    def allowed(self) -> bool:
        """Answers whoever has no token for what it asks."""
        vmid, asked = self.headers["X-ONEGATE-VMID"], self.path.removeprefix("/vms/")
        in_service = {one for ids in control["roles"].values() for one in ids}
        try:
            known = vm_of(self.headers["X-ONEGATE-TOKEN"]) == (vmid, str(control["started"].get(vmid, STARTED)))
        except ValueError:
            known = False
        if control["failing"]:
            self.answer(500)
        elif not known:
            self.answer(401)
        elif self.path != "/vm" and not {vmid, vmid if self.path == "/service" else asked} <= in_service:
            self.answer(400)
        else:
            return True
        return False

    def do_GET(self) -> None:
        if self.path == "/_attributes":
            self.answer(200, attributes)
        elif self.allowed():
            vmid = self.headers["X-ONEGATE-VMID"] if self.path == "/vm" else self.path.removeprefix("/vms/")
            self.answer(200, service() if self.path == "/service" else vm(vmid))

    def do_PUT(self) -> None:
        body = self.body()
        if self.path == "/_control":
            control.update(json.loads(body))
            self.answer(200)
        elif self.allowed():
            said = parse_qs(body, strict_parsing=True)
            vmid = self.headers["X-ONEGATE-VMID"] if self.path == "/vm" else self.path.removeprefix("/vms/")
            attributes[vmid] = attributes.get(vmid, {}) | dict(line.split("=", 1) for line in said["data"][0].split("\\n"))
            self.answer(200 if said["type"] == ["1"] else 400)


ThreadingHTTPServer(("0.0.0.0", 5030), OneGate).serve_forever()
