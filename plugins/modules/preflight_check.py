#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_check
short_description: Check a list of conditions on the controller
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Evaluates requirements on a host's variables in one task, before anything is changed, as M(ansible.builtin.assert) does for
    one condition.
  - Fails with the messages of all failed checks, so that they can be fixed together. A check that cannot be evaluated after a
    failed one is skipped, since it may depend on that one.
options:
  checks:
    description:
      - Name of the variable that contains the checks, a list of dictionaries. It is a name because Ansible templates arguments as
        a whole, and a message may use variables that exist only if its check fails.
      - Each check has C(that), one condition or a list of them, without braces, and either C(fail_msg), with which the task
        fails, or C(warn_msg), which is shown as a warning.
    type: str
    required: true
extends_documentation_fragment:
  - slm.copilot.controller_only
seealso:
  - module: ansible.builtin.assert
"""

EXAMPLES = r"""
- name: Check the numbers
  slm.copilot.preflight_check:
    checks: service_checks
  vars:
    service_checks:
      - that: service_port | int > 1023
        fail_msg: "service_port is {{ service_port }}: give a port from 1024 to 65535."
      - that: service_workers | int <= ansible_facts['processor_vcpus']
        warn_msg: "service_workers is {{ service_workers }}, more than there are processors."
"""

RETURN = r"""
msg:
  description: Messages of all failed checks, one per line.
  returned: failure
  type: str
  sample: "service_port is 80: give a port from 1024 to 65535."
"""
