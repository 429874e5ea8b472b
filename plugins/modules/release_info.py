#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: List the installed versions of a program
version_added: 0.1.0
description:
  - Reads the versions that M(slm.copilot.release) keeps in a directory.
options:
  prefix:
    description: Directory of the versions.
    type: path
    required: true
extends_documentation_fragment:
  - slm.copilot.read_only
seealso:
  - module: slm.copilot.release
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Read which engine version is installed
  slm.copilot.release_info:
    prefix: /opt/slm-copilot/llama.cpp
  register: engine
"""

RETURN = r"""
current:
  description: The current version, or null.
  returned: success
  type: str
  sample: 0.3.36-1f2e3d4c
versions:
  description: The installed versions, oldest first.
  returned: success
  type: list
  elements: str
  sample: [0.3.35-0a1b2c3d, 0.3.36-1f2e3d4c]
manifest:
  description: The manifest of the current version, or null.
  returned: success
  type: dict
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import describe


def main() -> None:
    module = AnsibleModule(argument_spec={"prefix": {"type": "path", "required": True}}, supports_check_mode=True)
    module.exit_json(changed=False, **describe(Path(module.params["prefix"])))


if __name__ == "__main__":
    main()
