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
  - Writes one archive of the fleet's folder and the model lock file with mode 0600, encrypted in the format of C(ansible-vault).
  - An existing archive of the same fleet is replaced atomically, if the password opens it. Any other file is left unchanged.
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
  description: ID of the fleet.
  returned: success
  type: str
  sample: 6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11
path:
  description: Path of the archive.
  returned: success
  type: str
  sample: /mnt/backups/fleet.vault
files:
  description: Files in the archive.
  returned: success
  type: list
  elements: str
  sample: [api-keys, ca/ca-key.pem, ca/ca.pem, fleet-id]
"""
