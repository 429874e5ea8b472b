# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of modules that keep or read what was measured of models."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description:
      - File on the host for the measurements. A missing file has none. To write it, its directory must exist.
    type: path
    required: true
  engine_dir:
    description: Directory of the engine, with C(bin/llama-bench) and C(manifest.json).
    type: path
    required: true
  cpu:
    description: The RV(slm.copilot.cpu_info#module:cpu) dictionary of M(slm.copilot.cpu_info).
    type: dict
    required: true
"""
