# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that make tables and charts of what was measured and checked."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._host.tuning import chart, table
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import checks_junit, checks_summary, checks_table
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "checks_junit": checks_junit,
                "checks_summary": checks_summary,
                "checks_table": checks_table,
                "tuning_chart": chart,
                "tuning_table": table,
            },
        )
