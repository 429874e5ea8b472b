# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about a fleet's folder, over the decisions in module_utils/_access/fleet.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._access import fleet
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

DOCUMENTATION = r"""
name: fleet_folder_beside
short_description: Find the folder of a fleet beside its inventory
version_added: 0.1.0
description:
  - Of several places the one that has a folder C(.slm-copilot) is taken, else the first.
  - It is an error when more than one has such a folder, and when the inventory is only a list of hosts.
options:
  _input:
    description: What the inventory is made of, as in C(ansible_inventory_sources).
    type: list
    elements: str
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
copilot_fleet_dir: "{{ ansible_inventory_sources | slm.copilot.fleet_folder_beside }}"
# => /home/me/copilot/.slm-copilot
"""

RETURN = r"""
_value:
  description: Path of the folder, which may not be there yet.
  type: path
"""


def _filter(name: str, function: Callable[..., str]) -> Callable[..., str]:
    def filtered(*arguments: Any, **options: Any) -> str:
        try:
            return function(*arguments, **options)
        except CopilotError as error:
            raise AnsibleFilterError(f"{name}: {error}") from error

    return filtered


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "fleet_folder_beside": _filter("copilot_fleet_dir", fleet.folder_beside),
            "fleet_id": _filter("fleet_id", fleet.read_id),
            "fleet_host_problem": fleet.host_problem,
        }
