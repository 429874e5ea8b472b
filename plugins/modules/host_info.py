#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Read the state of a host that decides which tasks are needed
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Returns the features of a host's CPU, the installed versions of programs, and which paths exist.
  - Starting a module takes longer than reading all this. So one call lets the play skip tasks that have nothing to do.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  paths:
    description: Absolute paths to look for, with optional wildcards. Links are not followed.
    type: list
    elements: path
    default: []
  releases:
    description: Directories in which M(slm.copilot.release) keeps the versions of a program.
    type: list
    elements: path
    default: []
seealso:
  - module: slm.copilot.cpu_info
  - module: slm.copilot.release_info
"""

EXAMPLES = r"""
- name: Read the state of the host
  slm.copilot.host_info:
    paths: [/usr/sbin/haproxy, /etc/systemd/system/slm-copilot*.service]
    releases: [/opt/slm-copilot/llama.cpp]
  register: host
"""

RETURN = r"""
cpu:
  description: The CPU, as RV(slm.copilot.cpu_info#module:cpu) of M(slm.copilot.cpu_info).
  returned: success
  type: dict
conditions:
  description: Persistent host settings that affect the speed of models, as returned by M(slm.copilot.cpu_info).
  returned: success
  type: dict
advice:
  description: Settings that slow models down, and what to do about them, in sentences.
  returned: success
  type: list
  elements: str
  sample: []
paths:
  description: The existing paths of O(paths), each with its type, V(file), V(directory), V(link) or V(special).
  returned: success
  type: dict
  sample:
    /usr/sbin/haproxy: file
packages_interrupted:
  description: Whether dpkg was stopped during an installation, by a full disk or a power cut.
  returned: success
  type: bool
releases:
  description: The current version in each of O(releases), or null. Incomplete versions do not count.
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
from ansible_collections.slm.copilot.plugins.module_utils._host.installation import packages_interrupted
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
            packages_interrupted=packages_interrupted(),
            releases={prefix: describe(Path(prefix))["current"] for prefix in module.params["releases"]},
        )
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
