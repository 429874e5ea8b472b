#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_folder
short_description: Found a fleet in a folder on the controller
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Makes the folder, readable by its owner alone, and gives it a random id, by which hosts know their fleet.
  - A folder that has an id keeps it. Of several runs at once, one founds the fleet and the others get its id.
  - A file C(.gitignore) keeps the content of the folder, which is secret, out of git.
options:
  path:
    description: The folder. Set it on the controller, with C(delegate_to=localhost).
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Makes nothing. The id is empty where there is none yet.
  diff_mode:
    support: none
    description: There is nothing to see but the id, which is in the result.
  idempotent:
    support: full
    description: What is there stays.
seealso:
  - plugin: slm.copilot.fleet_host_problem
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Found the fleet
  slm.copilot.fleet_folder:
    path: "{{ copilot_fleet_dir }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
id:
  description: The id of the fleet, a UUID.
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
