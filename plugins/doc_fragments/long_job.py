# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is the same of all modules that work for minutes behind an action plugin."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  progress_file:
    description: Set by the action plugin; where the module says how far it is.
    type: path
attributes:
  action:
    support: full
    description: An action plugin runs it in the background and shows its progress.
  async:
    support: none
    description: The action plugin does that itself.
"""
