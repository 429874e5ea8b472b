#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: run_summary
short_description: Summarize the results of a run
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Compares the hosts' reports with their previous ones. Prints what each host serves, what changed and what needs attention,
    then where the key is and what to do next.
  - Prints one line if nothing changed and no host has warnings.
options:
  before:
    description: The reports before the run, by host, as in RV(slm.copilot.report_info#module:report). Empty for a new host.
    type: dict
    required: true
  after:
    description: The reports after the run, by host. Hosts without a report are omitted.
    type: dict
    required: true
  keys:
    description: Location of the developers' keys, in words.
    type: str
    required: true
extends_documentation_fragment:
  - slm.copilot.controller_only
seealso:
  - module: slm.copilot.report_info
"""

EXAMPLES = r"""
- name: Summarize the run
  slm.copilot.run_summary:
    before: {"madrid-1": {}}
    after: {"madrid-1": "{{ report }}"}
    keys: /etc/one-appliance/config on each host
  run_once: true
"""

RETURN = r"""
lines:
  description: The printed lines.
  returned: success
  type: list
  elements: str
  sample: ["1 host is unchanged."]
"""
