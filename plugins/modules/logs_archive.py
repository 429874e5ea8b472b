#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: logs_archive
short_description: Write the logs of hosts to an archive for a bug report
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Writes one C(tar.gz) with mode 0600 on the controller, with a folder for each host.
  - Keys, and the names of developers, hosts and addresses are replaced with placeholders. The same value always has the same
    placeholder.
  - Lines that may contain parts of a prompt are omitted or truncated.
  - An existing file is not replaced.
options:
  path:
    description: Path of the archive.
    type: path
    required: true
  hosts:
    description: Results of M(slm.copilot.logs_info) by host. The error of a failed task is recorded in the archive.
    type: dict
    required: true
  folder:
    description: The fleet's folder. All keys in it are replaced wherever they occur.
    type: path
    required: true
  secrets:
    description: Additional secrets to replace, such as passwords in the inventory.
    type: list
    elements: str
    default: []
  names:
    description: Names of developers to replace, in addition to those with a key in O(folder).
    type: list
    elements: str
    default: []
  addresses:
    description: Names and addresses to replace, by host, in addition to those that the hosts report.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: none
    description: There is no previous archive to compare with.
  idempotent:
    support: none
    description: Each run needs a new path.
  action:
    support: full
    description: Runs only on the controller, without a connection.
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
  description: Path of the archive.
  returned: success
  type: str
  sample: /home/me/bug.tar.gz
placeholders:
  description: Placeholder of each host in the archive. It is not part of the archive.
  returned: success
  type: dict
  sample: {madrid-1: host-1}
"""
