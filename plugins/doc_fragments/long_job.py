# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is the same of all modules that work for minutes behind an action plugin."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  progress_file:
    description: File to which the module writes its progress. Set by the action plugin.
    type: path
attributes:
  action:
    support: full
    description: An action plugin runs it in the background and shows its progress.
  async:
    support: none
    description: The action plugin runs the module asynchronously itself.
"""
