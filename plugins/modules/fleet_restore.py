#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_restore
short_description: Restore a fleet's state on the controller
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Restores the files of an archive of M(slm.copilot.fleet_backup), with their modes.
  - Refuses a folder of another fleet, and paths outside the folder. Files that are not in the archive are kept.
extends_documentation_fragment:
  - slm.copilot.fleet_archive
options:
  replace:
    description: Whether to replace files of the same fleet that differ from those in the archive.
    type: bool
    default: false
seealso:
  - module: slm.copilot.fleet_backup
"""

EXAMPLES = r"""
- name: Restore a fleet's state on the controller
  slm.copilot.fleet_restore:
    path: /mnt/backups/fleet.vault
    folder: "{{ copilot_fleet_dir }}"
    password_file: /root/backup-password
  run_once: true
"""

RETURN = r"""
fleet:
  description: ID of the fleet.
  returned: success
  type: str
  sample: 6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11
actions:
  description: What was done to each changed path, V(make), V(replace) or V(mode).
  returned: success
  type: dict
  sample:
    /srv/inventory/.slm-copilot/fleet-id: make
"""
