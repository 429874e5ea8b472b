# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds a host against the support matrix."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._host.platforms import platform_problem as problem_of

DOCUMENTATION = r"""
name: platform_problem
short_description: Tell why a host's system is not supported
version_added: 0.1.0
description:
  - Holds the distribution, release, architecture and service manager of a host against the support matrix of this collection.
options:
  _input:
    description: The host's facts, with C(distribution), C(distribution_version), C(architecture) and C(service_mgr).
    type: dict
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
problem: "{{ ansible_facts | slm.copilot.platform_problem }}"
"""

RETURN = r"""
_value:
  description: What the host runs, why that does not do and what is supported; empty where it is supported.
  type: str
"""


def platform_problem(facts: Any) -> str:
    try:
        return problem_of(facts)
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(
            "platform_problem: the facts lack distribution, distribution_version, architecture or service_mgr: gather the "
            "subsets distribution, platform and service_mgr"
        ) from error


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"platform_problem": platform_problem}
