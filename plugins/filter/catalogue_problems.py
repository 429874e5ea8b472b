# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds what is wrong with a catalogue of models."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._model.catalogue import catalogue_problems

DOCUMENTATION = r"""
name: catalogue_problems
short_description: Find what is wrong with a catalogue of models
version_added: 0.1.0
description:
  - Compares the entries of a catalogue with the form that they have. Each problem names the entry and the field.
positional: _input, name
options:
  _input:
    description: The catalogue, entries by model id.
    type: dict
    required: true
  name:
    description: What the problems call the catalogue.
    type: str
    default: copilot_catalogue
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
problems: "{{ copilot_catalogue | slm.copilot.catalogue_problems }}"
"""

RETURN = r"""
_value:
  description: The problems, one sentence or two each; empty where all is well.
  type: list
  elements: str
  sample: ["copilot_catalogue[own].verified: it is a text of 3 characters; give true or false."]
"""


class FilterModule:
    """The filter of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"catalogue_problems": catalogue_problems}
