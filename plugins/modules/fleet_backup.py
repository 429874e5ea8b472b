#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_backup
short_description: Back up a fleet's state on the controller
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Writes one archive of the fleet's folder and of the model lock file, encrypted as C(ansible-vault) does, mode 0600.
  - An archive of the same fleet that the password opens is replaced in one step. Any other file is left alone.
extends_documentation_fragment:
  - slm.copilot.fleet_archive
seealso:
  - module: slm.copilot.fleet_restore
"""

EXAMPLES = r"""
- name: Back up a fleet's state on the controller
  slm.copilot.fleet_backup:
    path: /mnt/backups/fleet.vault
    folder: "{{ copilot_fleet_dir }}"
    password_file: /root/backup-password
  run_once: true
"""

RETURN = r"""
fleet:
  description: The id of the fleet.
  returned: success
  type: str
  sample: 6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11
path:
  description: The archive.
  returned: success
  type: str
  sample: /mnt/backups/fleet.vault
files:
  description: What the archive holds.
  returned: success
  type: list
  elements: str
  sample: [api-keys, ca/ca-key.pem, ca/ca.pem, fleet-id]
"""
