# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds what is wrong with the list of those whom a gateway lets in."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.gateway_map import key_problems

DOCUMENTATION = r"""
name: gateway_keys_problems
short_description: Find what is wrong with the keys of a gateway
version_added: 0.1.0
description:
  - Looks whether each entry has the form that C(gateway_keys) has in the role P(slm.copilot.gateway#role), and whether one key
    stands for two names. No problem shows a hash.
options:
  _input:
    description: Names, roles, hashes and ends of keys.
    type: list
    elements: dict
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
problems: "{{ gateway_keys | slm.copilot.gateway_keys_problems }}"
"""

RETURN = r"""
_value:
  description: The problems, one sentence each; empty where all is well.
  type: list
  elements: str
  sample: ["gateway_keys[2] (bob): the role is not known: choose one of developer, admin, balancer, monitor."]
"""


class FilterModule:
    """The filter of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"gateway_keys_problems": key_problems}
