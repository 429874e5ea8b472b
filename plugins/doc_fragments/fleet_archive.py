# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that write and read an archive of a fleet's state have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description: Path of the archive on the controller.
    type: path
    required: true
  folder:
    description: Path of the fleet's folder on the controller.
    type: path
    required: true
  model_lock_file:
    description: Path of the model lock file beside the inventory. Empty for none.
    type: str
    default: ""
  password_file:
    description:
      - Path on the controller of a file with the password of the archive, or of a program that prints it.
      - By default the module prompts for the password.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Reports what would be done, and changes nothing.
  diff_mode:
    support: none
    description: The content of the archive is secret.
  idempotent:
    support: full
    description: Changes nothing if the files already match.
  action:
    support: full
    description: Runs only on the controller, without a connection.
"""
