# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the VMs of a service publish of themselves by OneGate, and what they make of each other's.

A server publishes where it is, what it serves and its CA certificate; a balancer the SHA-256 of its key for each server. So keys
never leave the VM that made them. Values have no blanks, quotes, commas and brackets, which OneGate does not keep as they are.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.names import FOLDER_NAME, MODEL_ID
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import inventory

SERVER, BALANCER = ROLES = ("server", "balancer")
ROLE, ADDRESS, PORT, ZONE = "COPILOT_ROLE", "COPILOT_ADDRESS", "COPILOT_PORT", "COPILOT_ZONE"
MODELS, CA, KEYS, QUEUE, BUSY = "COPILOT_MODELS", "COPILOT_CA", "COPILOT_KEYS", "COPILOT_QUEUE", "COPILOT_BUSY"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?")


def name_of(vm: str) -> str:
    """Returns the name of another VM in the inventory."""
    return f"vm-{vm}"


def of_server(report: Mapping[str, Any], ca: str, address: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a server publishes.

    :param report: report.json of this VM.
    :param ca: PEM of its CA.
    :param state: the state of its router: ``slots``, ``busy`` and ``queued`` by model.
    """
    port = re.search(r":([0-9]+)/v1$", report["endpoint"])
    models = "/".join(f"{one['name']}:{one['context_size']}:{one['slots']}" for one in report["models"])
    slots, busy, queued = (sum(map(int, state[name].values())) for name in ("slots", "busy", "queued"))
    return {
        ROLE: SERVER,
        ADDRESS: address,
        PORT: port[1] if port else "443",
        MODELS: models,
        CA: base64.urlsafe_b64encode(ssl.PEM_cert_to_DER_cert(ca)).decode().rstrip("="),
        QUEUE: str(queued),
        BUSY: str(100 * busy // max(slots, 1)),
    }


def of_balancer(keys: Mapping[str, str], address: str) -> dict[str, str]:
    """Returns what a balancer publishes.

    :param keys: those that it has for servers, by the ids of their VMs.
    """
    hashes = [f"{vm}:{hashlib.sha256(key.encode()).hexdigest()}" for vm, key in sorted(keys.items())]
    return {ROLE: BALANCER, ADDRESS: address, KEYS: "/".join(hashes)}


def for_balancer(others: Mapping[str, Mapping[str, str]], complain: Callable[[str], None]) -> str:
    """Returns the inventory of a balancer's servers: those that are ready.

    :param others: the attributes of the other VMs, by id.
    :param complain: gets a sentence for each VM that publishes something else.
    """
    servers = {}
    for vm, said in others.items():
        if said.get(ROLE) == SERVER and said.get("READY") == "YES":
            try:
                servers[name_of(vm)] = _variables(said)
            except (KeyError, ValueError, CopilotError) as error:
                complain(f"The VM {vm} is not used, since it publishes no server: {type(error).__name__}: {error}")
    return inventory.of_servers(servers)


def _variables(said: Mapping[str, str]) -> dict[str, Any]:
    port = int(said[PORT])
    if not 0 < port < 1 << 16:
        raise ValueError(f"{PORT} is {port}")
    models = []
    for one in said[MODELS].split("/"):
        name, context, slots = one.split(":")
        if not MODEL_ID.fullmatch(name) or int(context) < 1 or int(slots) < 1:
            raise ValueError(f"{MODELS} has {one!r}")
        models.append({"id": name, "context_size": int(context), "slots": int(slots)})
    variables: dict[str, Any] = {
        "ansible_host": str(ipaddress.ip_address(said[ADDRESS])),
        "copilot_port": port,
        "copilot_models": models,
        "copilot_server_ca": _certificate(said[CA]),
    }
    if zone := said.get(ZONE):
        if not FOLDER_NAME.fullmatch(zone):
            raise ValueError(f"{ZONE} is {zone!r}")
        variables["copilot_zone"] = zone
    return variables


def _certificate(text: str) -> str:
    der = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    pem = ssl.DER_cert_to_PEM_cert(der)
    try:
        ssl.create_default_context(cadata=pem)
    except ssl.SSLError:
        raise ValueError(f"{CA} is no certificate") from None
    return pem


def for_server(others: Mapping[str, Mapping[str, str]], vm: str, complain: Callable[[str], None]) -> str:
    """Returns the inventory of a server's balancers: those that have a key for it.

    :param vm: id of the server.
    """
    balancers = []
    for other, said in sorted(others.items()):
        if said.get(ROLE) == BALANCER:
            try:
                keys = dict(one.split(":") for one in said[KEYS].split("/") if one)
                if vm in keys:
                    if not re.fullmatch(r"[0-9a-f]{64}", keys[vm]):
                        raise ValueError(f"{KEYS} has no SHA-256 for this VM")
                    balancers.append({"address": str(ipaddress.ip_address(said[ADDRESS])), "key_sha256": keys[vm]})
            except (KeyError, ValueError) as error:
                complain(f"The VM {other} is not let in, since it publishes no balancer: {type(error).__name__}: {error}")
    return inventory.of_balancers(balancers)


def nobody(role: str) -> str:
    """Returns the inventory of a VM that knows no other one."""
    return inventory.of_servers({}) if role == BALANCER else inventory.of_balancers([])
