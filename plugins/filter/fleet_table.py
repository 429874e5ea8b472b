# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter that shows a fleet, over the functions in module_utils/_server/report.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._server import report

DOCUMENTATION = r"""
name: fleet_table
short_description: Show all hosts as a table
version_added: 0.1.0
description:
  - Makes one aligned table for people, with a line for each host.
  - The result of a task that failed, such as that of a host that cannot be reached, is shown with its message.
options:
  _input:
    description: Results of M(slm.copilot.report_info), by the name of the host.
    type: dict
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
table: "{{ {'copilot-1': result} | slm.copilot.fleet_table }}"
"""

RETURN = r"""
_value:
  description: The table, with line breaks.
  type: str
"""


def fleet_table(reports: Any) -> str:
    if not isinstance(reports, Mapping) or not all(isinstance(one, Mapping) for one in reports.values()):
        raise AnsibleFilterError("fleet_table: must be given results of slm.copilot.report_info by the name of the host")
    return report.fleet_table(reports)


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"fleet_table": fleet_table}
