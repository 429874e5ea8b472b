# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that write and read an archive of a fleet's state have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description: The archive, a file on the controller.
    type: path
    required: true
  folder:
    description: The fleet's folder on the controller.
    type: path
    required: true
  model_lock_file:
    description: The file beside the inventory that pins the models; empty for none.
    type: str
    default: ""
  password_file:
    description:
      - A file on the controller with the password of the archive, or a program that prints it.
      - Without it, the password is asked for.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says what would be done, and changes nothing.
  diff_mode:
    support: none
    description: What the archive holds is secret.
  idempotent:
    support: full
    description: What is there already stays.
  action:
    support: full
    description: Runs on the controller alone; no connection is made.
"""
