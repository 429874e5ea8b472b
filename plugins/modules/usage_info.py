#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_info
short_description: Read the usage records of a host
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the usage that the host's routers recorded, if C(copilot_usage) is not C(off).
  - Missing files are not an error.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  folders:
    description: Directories of the routers' usage records.
    type: list
    elements: path
    default: [/var/lib/slm-copilot/usage, /var/lib/slm-copilot/usage-balancer]
  first_day:
    description: The first day (UTC), as C(2026-11-01). Empty means the first one recorded.
    type: str
    default: ""
  last_day:
    description: The last day (UTC). Empty means today.
    type: str
    default: ""
seealso:
  - plugin: slm.copilot.usage_table
    plugin_type: filter
  - plugin: slm.copilot.usage_csv
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read the developers' usage in November
  slm.copilot.usage_info:
    first_day: "2026-11-01"
    last_day: "2026-11-30"
  register: copilot_usage_result
"""

RETURN = r"""
usage:
  description: One entry for each day, developer and model.
  returned: success
  type: list
  elements: dict
  contains:
    day:
      description: Day on which the requests ended (UTC).
      type: str
      sample: "2026-11-27"
    developer:
      description: Name or pseudonym of the developer.
      type: str
      sample: alice
    model:
      description: Name of the model.
      type: str
      sample: devstral-small-2
    requests:
      description: Number of answered requests.
      type: int
      sample: 112
    broken_off:
      description: Number of requests whose client disconnected before the end. Their tokens are not known.
      type: int
      sample: 9
    computed:
      description: Prompt tokens that were processed.
      type: int
      sample: 180412
    cached:
      description: Prompt tokens that came from the prompt cache.
      type: int
      sample: 2231004
    generated:
      description: Generated tokens.
      type: int
      sample: 51233
    seconds:
      description: Processing time of llama-server in seconds. Backends outside the fleet do not report it.
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
