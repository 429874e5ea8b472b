#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_info
short_description: Read what developers used of a host
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads what the host's routers counted where C(copilot_usage) is not C(off).
  - What is not there is no error.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  folders:
    description: The folders in which routers keep it.
    type: list
    elements: path
    default: [/var/lib/slm-copilot/usage, /var/lib/slm-copilot/usage-balancer]
  first_day:
    description: The first day (UTC), as C(2026-11-01). Empty for all that is kept.
    type: str
    default: ""
  last_day:
    description: The last day (UTC). Empty for today.
    type: str
    default: ""
seealso:
  - plugin: slm.copilot.usage_table
    plugin_type: filter
  - plugin: slm.copilot.usage_csv
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read what developers used in November
  slm.copilot.usage_info:
    first_day: "2026-11-01"
    last_day: "2026-11-30"
  register: copilot_usage_result
"""

RETURN = r"""
usage:
  description: A line for each day, developer and model.
  returned: success
  type: list
  elements: dict
  contains:
    day:
      description: Which day (UTC) the requests ended on.
      type: str
      sample: "2026-11-27"
    developer:
      description: The developer's name or pseudonym.
      type: str
      sample: alice
    model:
      description: The model.
      type: str
      sample: devstral-small-2
    requests:
      description: Requests that were answered.
      type: int
      sample: 112
    broken_off:
      description: Requests whose client left before the end. What they took is not known.
      type: int
      sample: 9
    computed:
      description: Tokens of prompts that were computed.
      type: int
      sample: 180412
    cached:
      description: Tokens of prompts that the cache held.
      type: int
      sample: 2231004
    generated:
      description: Tokens of answers.
      type: int
      sample: 51233
    seconds:
      description: For how long llama-server computed them. Backends outside the fleet do not say it.
      type: float
      sample: 13410.251
"""

from datetime import date

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server.usage import read


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folders": {
                "type": "list",
                "elements": "path",
                "default": ["/var/lib/slm-copilot/usage", "/var/lib/slm-copilot/usage-balancer"],
            },
            "first_day": {"type": "str", "default": ""},
            "last_day": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    days = {name: module.params[name] for name in ("first_day", "last_day")}
    for name, day in days.items():
        try:
            days[name] = date.fromisoformat(day).isoformat() if day else ""
        except ValueError:
            module.fail_json(msg=f"{name} is {day!r}: give a day as 2026-11-01")
    try:
        module.exit_json(changed=False, usage=read(module.params["folders"], days["first_day"], days["last_day"]))
    except CopilotError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
