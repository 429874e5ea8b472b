#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Read in one task what decides about most others
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Tells what a host's CPU can do, which versions of programs are installed, and which paths are there.
  - To start a module costs a host more than to read all this. So what asks for it once can skip tasks that have nothing to do.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  paths:
    description: Absolute paths to look for. They may have wildcards. A link is not followed.
    type: list
    elements: path
    default: []
  releases:
    description: Prefixes under which M(slm.copilot.release) keeps the versions of a program.
    type: list
    elements: path
    default: []
seealso:
  - module: slm.copilot.cpu_info
  - module: slm.copilot.release_info
"""

EXAMPLES = r"""
- name: See what the host is and has
  slm.copilot.host_info:
    paths: [/usr/sbin/haproxy, /etc/systemd/system/slm-copilot*.service]
    releases: [/opt/slm-copilot/llama.cpp]
  register: host
"""

RETURN = r"""
cpu:
  description: The CPU, as RV(slm.copilot.cpu_info#module:cpu) of M(slm.copilot.cpu_info) has it.
  returned: success
  type: dict
conditions:
  description: What of the host's settings lasts and decides how fast a model is, as M(slm.copilot.cpu_info) has it.
  returned: success
  type: dict
advice:
  description: What of these makes models slower, and what to do, in sentences.
  returned: success
  type: list
  elements: str
  sample: []
paths:
  description: Those of O(paths) that are there, and whether each is a V(file), V(directory), V(link) or V(special).
  returned: success
  type: dict
  sample:
    /usr/sbin/haproxy: file
releases:
  description: The version in use under each of O(releases), or null. A version that is not whole is none.
  returned: success
  type: dict
  sample:
    /opt/slm-copilot/llama.cpp: 0.3.36-1f2e3d4c
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import describe
from ansible_collections.slm.copilot.plugins.module_utils._host.conditions import PASSING, lasting_advice, read_conditions
from ansible_collections.slm.copilot.plugins.module_utils._host.state import kinds_of, lscpu, read_cpu


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "releases": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    conditions = read_conditions()
    try:
        module.exit_json(
            changed=False,
            cpu=read_cpu(lscpu(module)),
            conditions={name: value for name, value in asdict(conditions).items() if name not in PASSING},
            advice=lasting_advice(conditions),
            paths=kinds_of(module.params["paths"]),
            releases={prefix: describe(Path(prefix))["current"] for prefix in module.params["releases"]},
        )
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
