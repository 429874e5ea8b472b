#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_info
short_description: Read the names and, on request, the keys from a file of API keys
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads a file that M(slm.copilot.api_key) wrote. The keys are returned only with O(return_values=true).
  - A file that cannot be read or has a different format is an error. The error message does not show its content. A missing file
    is not an error.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  path:
    description: Path of the file.
    type: path
    required: true
  return_values:
    description: Whether to return the keys. Set C(no_log) on the task.
    type: bool
    default: false
seealso:
  - module: slm.copilot.api_key
"""

EXAMPLES = r"""
- name: List who has a key
  slm.copilot.api_key_info:
    path: "{{ copilot_fleet_dir }}/api-keys"
  register: copilot_keys

- name: Read the keys themselves
  slm.copilot.api_key_info:
    path: "{{ copilot_fleet_dir }}/api-keys"
    return_values: true
  register: copilot_keys   # the key of alice is copilot_keys['values']['alice']
  no_log: true
"""

RETURN = r"""
path:
  description: Path of the file.
  returned: success
  type: str
  sample: /srv/inventory/.slm-copilot/api-keys
exists:
  description: Whether the file exists.
  returned: success
  type: bool
  sample: true
names:
  description: The names that have a key, in the order of the file.
  returned: success
  type: list
  elements: str
  sample: [shared, alice, bob]
values:
  description: The keys by name. Write C(result['values']), because C(result.values) is a method of Python's dict.
  returned: success and O(return_values=true)
  type: dict
  sample:
    alice: sk-TheKeyOfAlice
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import parse_key_file
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "return_values": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    try:
        with open(path, "rb") as file:
            keys = parse_key_file(file.read())
        exists = True
    except FileNotFoundError:
        keys, exists = {}, False
    except OSError as error:
        module.fail_json(msg=f"path: {path} cannot be read: {error.strerror}")
    except CopilotError as error:
        module.fail_json(msg=f"path: {path} is not a key file of slm.copilot.api_key: {error}")
    result = {"changed": False, "path": path, "exists": exists, "names": list(keys)}
    if module.params["return_values"]:
        result["values"] = keys
    module.exit_json(**result)


if __name__ == "__main__":
    main()
