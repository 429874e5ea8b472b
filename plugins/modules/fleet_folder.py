#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_folder
short_description: Create the state folder of a fleet on the controller
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Creates the folder, readable only by its owner, and gives it a random ID, by which hosts identify their fleet.
  - A folder with an ID keeps it. If several runs start at the same time, one creates the ID and the others use it.
  - A C(.gitignore) file keeps the secret content of the folder out of git.
options:
  path:
    description: Path of the folder on the controller. Use C(delegate_to=localhost).
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Creates nothing. The ID is empty if there is none yet.
  diff_mode:
    support: none
    description: Only the ID changes, which is in the result.
  idempotent:
    support: full
    description: An existing ID is kept.
seealso:
  - plugin: slm.copilot.fleet_host_problem
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Create the fleet's state folder
  slm.copilot.fleet_folder:
    path: "{{ copilot_fleet_dir }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
id:
  description: ID of the fleet, a UUID.
  returned: success
  type: str
  sample: 6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._access.fleet import found, read_id
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    path = module.params["path"]
    try:
        if module.check_mode:
            fleet_id = read_id(path)
            module.exit_json(changed=not fleet_id, id=fleet_id)
        fleet_id, changed = found(path)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, id=fleet_id)


if __name__ == "__main__":
    main()
