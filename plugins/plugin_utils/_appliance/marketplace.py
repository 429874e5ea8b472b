# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The OpenNebula files of an appliance: VM template, template of a service with several VMs, and marketplace entries.

All of them are generated from the list of variables that the appliance reads (settings.INPUTS), so that they are consistent.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.yaml import yaml_dump
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.service import BALANCER, BUSY, QUEUE, SERVER
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.settings import INPUTS, PREFIX

NAME = "slm-copilot"
SERVICE = "slm-copilot-service"
VERSIONS = "6.10, 7.0"  # of OpenNebula
_DESCRIPTION = """\
A private AI coding copilot on a plain VM, without a GPU: an OpenAI-compatible API over HTTPS with keys, for aider, OpenCode,
Cline, Continue and pi. The model is in the image. Nothing is downloaded, and the engine's service has no network at all, so
that code never leaves the VM.

The VM needs the CPU model host-passthrough, port 8443, and 32 GB of memory for the default model. Endpoint and key are in
/etc/one-appliance/config; each variable is read at every boot."""
_SERVICE_DESCRIPTION = """\
Servers and a balancer in front of them, behind one endpoint. The balancer starts when the first server serves, and follows
the servers by OneGate. OneFlow adds servers while requests wait, and removes them when they have little to do."""
MOST_SERVERS = 4
# Averages over the role. A server publishes at least every 30 seconds how many requests wait there, and how busy its slots are in
# percent. A new server takes minutes to start, and a removed one has to be warmed up again: so it goes slowly.
_POLICIES = [
    {"type": "CHANGE", "adjust": 1, "expression": f"{QUEUE} > 1", "period": 60, "period_number": 3, "cooldown": 600},
    {"type": "CHANGE", "adjust": -1, "expression": f"{BUSY} < 10", "period": 300, "period_number": 6, "cooldown": 600},
]


def identity(what: str) -> str:
    """Returns the UUID of an entry: always the same for the same thing."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://example.com/slm-copilot/{what}"))


def user_inputs() -> dict[str, str]:
    """Returns the variables in OpenNebula's form: mandatory or optional, type, description, options, default."""
    found = {}
    for name, one in INPUTS.items():
        if one.asked:
            options = ",".join(one.options if one.default or not one.options else ("", *one.options))
            found[f"{PREFIX}{name}"] = f"O|{one.kind}|{one.description}|{options}|{one.default}"
    return found


def vm_template() -> dict[str, Any]:
    """Returns the template of a VM with the default model."""
    context = {
        "NETWORK": "YES",
        "TOKEN": "YES",
        "REPORT_READY": "YES",
        "SET_HOSTNAME": "$NAME",
        "SSH_PUBLIC_KEY": "$USER[SSH_PUBLIC_KEY]",
    }
    inputs = user_inputs()
    return {
        # What a service sets for a role reaches its VMs through these references only.
        "CONTEXT": context | {f"{PREFIX}{name}": f"${PREFIX}{name}" for name in INPUTS},
        "CPU": "16",
        "VCPU": "16",
        "CPU_MODEL": {"MODEL": "host-passthrough"},
        "MEMORY": "32768",
        "GRAPHICS": {"LISTEN": "0.0.0.0", "TYPE": "VNC"},
        "NIC_DEFAULT": {"MODEL": "virtio"},
        "USER_INPUTS": inputs,
        "INPUTS_ORDER": ",".join(inputs),
    }


def template_text(template: Mapping[str, Any]) -> str:
    """Returns a template in OpenNebula's own syntax, as onetemplate reads it."""
    lines = []
    for name, value in template.items():
        if isinstance(value, Mapping):
            inner = ",\n".join(f"  {key} = {_quoted(one)}" for key, one in value.items())
            lines.append(f"{name} = [\n{inner} ]")
        else:
            lines.append(f"{name} = {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def service_template() -> dict[str, Any]:
    """Returns the service: servers, and a balancer that starts once the first of them serves.

    Servers get no key: only the balancer has developers.
    """
    shared = {name: f"${name}" for name in (f"{PREFIX}AI_MODEL", f"{PREFIX}CONTEXT_SIZE")}
    own = {name: f"${name}" for name in (f"{PREFIX}API_PASSWORD", f"{PREFIX}TLS_DOMAIN")}

    def role(name: str, attributes: Mapping[str, str], most: int, **more: Any) -> dict[str, Any]:
        attributes = {**attributes, f"{PREFIX}SERVICE_ROLE": name}
        contents = 'NIC = [\n  NAME = "NIC0",\n  NETWORK_ID = "$Network" ]\n' + template_text(attributes)
        return {"name": name, "cardinality": 1, "min_vms": 1, "max_vms": most, "vm_template_contents": contents, **more}

    inputs = user_inputs()
    return {
        "name": SERVICE,
        "deployment": "straight",
        "description": _SERVICE_DESCRIPTION,
        "ready_status_gate": True,
        "roles": [
            role(SERVER, shared, MOST_SERVERS, cooldown=600, elasticity_policies=_POLICIES),
            role(BALANCER, shared | own, 1, parents=[SERVER]),
        ],
        "networks": {"Network": "M|network|Network of the VMs| |id:"},
        "custom_attrs": {name: inputs[name] for name in (*shared, *own)},
    }


def entries(about: Mapping[str, Any], url: str) -> dict[str, dict[str, Any]]:
    """Returns the entries of a marketplace, by file name.

    :param about: what slm.copilot.appliance_image said: version, time, size, checksums.
    :param url: where the image is published.
    """
    template = vm_template()
    lower = {
        name.lower(): {key.lower(): one for key, one in value.items()} if isinstance(value, Mapping) else value
        for name, value in template.items()
    }
    common = {
        "version": f"{about['version']}-{about['digest'][:8]}",
        "publisher": "The slm.copilot maintainers",
        "tags": ["ai", "llm", "coding", "copilot", "cpu", "debian"],
        "creation_time": about["created"],
        "hypervisor": "KVM",
        "opennebula_version": VERSIONS,
    }
    image = {
        "name": NAME,
        "description": _DESCRIPTION,
        "short_description": "A private AI coding copilot without a GPU",
        "format": "qcow2",
        "os-id": "Debian",
        "os-release": {"bookworm": "12", "trixie": "13"}[about["codename"]],
        "os-arch": "x86_64",
        "opennebula_template": lower,
        "images": [
            {
                "name": NAME,
                "url": url,
                "type": "OS",
                "dev_prefix": "vd",
                "driver": "qcow2",
                "size": about["virtual_size"],
                "checksum": {"md5": about["md5"], "sha256": about["sha256"]},
            }
        ],
    }
    service = {
        "name": SERVICE,
        "type": "SERVICE_TEMPLATE",
        "description": _SERVICE_DESCRIPTION,
        "short_description": "Servers of a private AI coding copilot behind one endpoint",
        "format": "none",
        "roles": {one["name"]: NAME for one in service_template()["roles"]},
        "opennebula_template": service_template(),
        "images": [],
    }
    return {f"{identity('image')}.yaml": common | image, f"{identity('service')}.yaml": common | service}


def files(about: Mapping[str, Any], folder: str, url: str) -> list[dict[str, str]]:
    """Returns all files, as slm.copilot.files takes them: for onetemplate, for oneflow-template, for a marketplace."""
    contents = {
        "template.txt": template_text({"NAME": NAME} | vm_template() | {"DISK": {"IMAGE": NAME}}),
        "service.json": json.dumps(service_template(), indent=1) + "\n",
        **{name: yaml_dump(one, sort_keys=False, width=110) for name, one in entries(about, url).items()},
    }
    return [{"path": f"{folder}/{name}", "content": content, "mode": "0644"} for name, content in contents.items()]
