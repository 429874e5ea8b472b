# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of modules that read a bundle."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description: Path of the bundle's folder.
    type: path
    required: true
  key:
    description: File with the public SSH key of whoever built the bundle.
    type: path
    required: true
"""
