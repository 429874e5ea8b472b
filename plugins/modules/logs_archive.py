#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: logs_archive
short_description: Write what hosts said as an archive for a bug report
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Writes one C(tar.gz) on the controller, mode 0600, with a folder for each host.
  - Keys, names of developers, hosts and addresses are replaced by placeholders, each by the same one everywhere.
  - Lines that may have a piece of a prompt in them are left out, or end before it.
  - A file that is there is not replaced.
options:
  path:
    description: The archive.
    type: path
    required: true
  hosts:
    description: Results of M(slm.copilot.logs_info) by host. One of a task that failed is named in the archive.
    type: dict
    required: true
  folder:
    description: The fleet's folder. All keys in it are replaced wherever they stand.
    type: path
    required: true
  secrets:
    description: More secrets that are replaced, such as passwords of the inventory.
    type: list
    elements: str
    default: []
  names:
    description: Names of developers that are replaced, besides those with a key in O(folder).
    type: list
    elements: str
    default: []
  addresses:
    description: Names and addresses of hosts by host that are replaced, besides those that the hosts know.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: none
    description: There is nothing to compare with.
  idempotent:
    support: none
    description: Each run needs a path of its own.
  action:
    support: full
    description: Runs on the controller alone; no connection is made.
seealso:
  - module: slm.copilot.logs_info
"""

EXAMPLES = r"""
- name: Write the archive
  slm.copilot.logs_archive:
    path: bug.tar.gz
    hosts: "{{ {inventory_hostname: copilot_logs} }}"
    folder: "{{ copilot_fleet_dir }}"
    names: "{{ copilot_users | map(attribute='name') }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The archive.
  returned: success
  type: str
  sample: /home/me/bug.tar.gz
placeholders:
  description: Which host is which in the archive. Not part of it.
  returned: success
  type: dict
  sample: {madrid-1: host-1}
"""
