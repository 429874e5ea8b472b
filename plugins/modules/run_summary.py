#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: run_summary
short_description: Say what a run came to
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Compares what hosts report with what they reported before, and prints for each host what it serves, what changed and
    what to look after, and then where the key is and what is next.
  - Prints one line where nothing changed and no host warns.
options:
  before:
    description: The reports before the run, by host, as RV(slm.copilot.report_info#module:report); empty for a new host.
    type: dict
    required: true
  after:
    description: The reports after the run, by host. Hosts without one are left out.
    type: dict
    required: true
  keys:
    description: Where developers' keys are, in words.
    type: str
    required: true
extends_documentation_fragment:
  - slm.copilot.controller_only
seealso:
  - module: slm.copilot.report_info
"""

EXAMPLES = r"""
- name: Say what came of the run
  slm.copilot.run_summary:
    before: {"madrid-1": {}}
    after: {"madrid-1": "{{ report }}"}
    keys: /etc/one-appliance/config on each host
  run_once: true
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: success
  type: list
  elements: str
  sample: ["1 host serves what it served before."]
"""
