# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables ONEAPP_COPILOT_* of an appliance, and the variables of the collection that they set.

Names, defaults and labels are those of the original appliance. Messages use the name that the user set, and never show a
password.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.keys import key_fault
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.names import CERTIFICATE_HOST_NAME, FOLDER_NAME, MODEL_ID
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.service import ROLES
from ansible_collections.slm.copilot.plugins.plugin_utils._pool import parse_extra

PREFIX = "ONEAPP_COPILOT_"
# As the list in a VM template shows them. A label must not have a comma.
LABELS = {
    "Devstral Small 24B (built-in)": "devstral-small-2",
    "Codestral 22B": "codestral-22b",
    "Mistral Nemo 12B": "mistral-nemo-12b",
    "Codestral Mamba 7B": "codestral-mamba-7b",
    "Mistral 7B": "mistral-7b",
}
MODES = ("self-signed", "letsencrypt")


@dataclass(frozen=True)
class Input:
    """A variable of the appliance."""

    kind: str  # as OpenNebula's user inputs have it: text, password, number, list
    default: str
    description: str
    read: Callable[[str], dict[str, Any]]  # our variables, from a value that is not empty
    options: tuple[str, ...] = ()
    asked: bool = True  # whether OpenNebula prompts for it


def _number(variable: str, least: int, most: int) -> Callable[[str], dict[str, Any]]:
    def read(value: str) -> dict[str, Any]:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise CopilotError(f"is {_shown(value)}, and must be a whole number from {least} to {most}")
        return {variable: int(value)}

    return read


def _model(value: str) -> dict[str, Any]:
    name = LABELS.get(value, value)
    if not MODEL_ID.fullmatch(name):
        raise CopilotError(f"is {_shown(value)}, which is no model. Choose one of {', '.join(LABELS)}, or an id of the catalogue")
    return {"copilot_model": name}


def _key(value: str) -> dict[str, Any]:
    if fault := key_fault(value):
        raise CopilotError(f"{fault}. Leave it empty, and a key is generated")
    return {"copilot_api_key": value}


def _domain(value: str) -> dict[str, Any]:
    if not CERTIFICATE_HOST_NAME.fullmatch(value) or "." not in value or re.fullmatch(r"[0-9.]+", value):
        raise CopilotError(f"is {_shown(value)}, and must be a full domain name such as copilot.example.com")
    return {"copilot_tls_domain": value}


def _zone(value: str) -> dict[str, Any]:
    if not FOLDER_NAME.fullmatch(value) or len(value) > 64:
        raise CopilotError(f"is {_shown(value)}, and must be a name of letters, digits, dots, hyphens and underscores")
    return {"copilot_zone": value}


def _mode(value: str) -> dict[str, Any]:
    if value not in MODES:
        raise CopilotError(f"is {_shown(value)}, and must be one of {', '.join(MODES)}")
    return {"mode": value}


def _backends(value: str) -> dict[str, Any]:
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    for number, entry in enumerate(entries, 1):
        try:
            parse_extra(entry, number)
        except CopilotError as error:
            raise CopilotError(re.sub(r"^copilot_extra_backends, ", "", str(error))) from None
    return {"copilot_extra_backends": entries}


def _role(value: str) -> dict[str, Any]:
    if value not in ROLES:
        raise CopilotError(f"is {_shown(value)}, and must be one of {', '.join(ROLES)}")
    return {"service_role": value}


def _certificates(value: str) -> dict[str, Any]:
    try:
        text = value if "-----BEGIN" in value else base64.b64decode("".join(value.split()), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        raise CopilotError("must hold CA certificates in PEM form, as they are or in base64, and no private key")
    return {"copilot_extra_backends_ca": text.strip() + "\n"}  # the text; it is written to a file later


INPUTS = {
    "AI_MODEL": Input("list", "Devstral Small 24B (built-in)", "Model", _model, tuple(LABELS)),
    "CONTEXT_SIZE": Input(
        "number", "32768", "Context of each conversation in tokens", _number("copilot_context_size", 1024, 1 << 20)
    ),
    "CPU_THREADS": Input("number", "0", "Threads for inference (0 = all cores)", _number("copilot_threads", 0, 1024)),
    "API_PASSWORD": Input("password", "", "API key (empty = generated)", _key),
    "TLS_DOMAIN": Input("text", "", "Domain name for Let's Encrypt (empty = own CA)", _domain),
    "TLS_MODE": Input("list", "", "Certificate (empty = by the domain)", _mode, MODES),
    "TIMEOUT": Input("number", "3600", "How long an answer may keep silent in seconds", _number("gateway_timeout", 60, 86400)),
    "RATE_LIMIT": Input("number", "100", "Requests of a key in ten seconds", _number("gateway_key_requests", 1, 100000)),
    "CONNECTION_LIMIT": Input("number", "32", "Requests of a key at once", _number("gateway_key_concurrent", 1, 10000)),
    "LB_BACKENDS": Input("password", "", "Backends of a balancer: key@host:port with commas between them", _backends),
    # Set by a service for its roles. As an input of the VM, an empty form field would override it.
    "SERVICE_ROLE": Input("list", "", "What this VM is for its service", _role, ROLES, asked=False),
    "LB_CA": Input("text64", "", "CA certificates that the backends are verified by", _certificates),
    "ZONE": Input("text", "", "Zone of this VM", _zone),
}
# Former and other names of the same inputs
ALIASES = {"API_KEY": "API_PASSWORD", "THREADS": "CPU_THREADS", "MODEL": "AI_MODEL", "HOSTNAME": "TLS_DOMAIN"}


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:37] + "...")


def variables(context: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Returns the collection's variables that a context sets, and its problems, in words for people.

    An empty value means the default.
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    given: dict[str, str] = {}
    for full in sorted(name for name in context if name.startswith(PREFIX)):
        value = context[full].strip()
        name = ALIASES.get(full.removeprefix(PREFIX), full.removeprefix(PREFIX))
        if name not in INPUTS:
            problems.append(f"{full} is not known. Known are {', '.join(PREFIX + one for one in INPUTS)}.")
        elif not value:
            continue
        elif given.setdefault(name, full) != full:
            problems.append(f"{full} and {given[name]} say the same. Set one of them.")
        else:
            try:
                found |= INPUTS[name].read(value)
            except CopilotError as error:
                problems.append(f"{full} {str(error).rstrip('.')}.")
    if "LB_CA" in given and "copilot_extra_backends" not in found:
        problems.append(f"{PREFIX}LB_CA is of use with {PREFIX}LB_BACKENDS only.")
    mode, domain = found.pop("mode", None), found.get("copilot_tls_domain")
    if mode == "letsencrypt" and not domain:
        problems.append(f"{PREFIX}TLS_MODE is letsencrypt, which needs {PREFIX}TLS_DOMAIN.")
    if mode == "self-signed" and domain:  # clients use the name, and the fleet CA signs the certificate
        found["copilot_endpoint_host"] = found.pop("copilot_tls_domain")
    return found, problems


def service_role(context: Mapping[str, str]) -> str:
    """Returns what this VM is for its service, whatever else the context says. Raises CopilotError when it says nothing of it."""
    return str(_role(context.get(f"{PREFIX}SERVICE_ROLE", "").strip())["service_role"])
