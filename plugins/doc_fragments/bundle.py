# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of modules that read a bundle."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description: Folder of the bundle.
    type: path
    required: true
  key:
    description: Public SSH key of whoever made it.
    type: path
    required: true
"""
