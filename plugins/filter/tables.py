# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that create tables and charts of measurements, checks and usage."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._server.usage import usage_csv, usage_table
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.charts import tuning_chart
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.junit import checks_junit
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.tables import checks_summary, checks_table, tuning_table


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "checks_junit": checks_junit,
                "checks_summary": checks_summary,
                "checks_table": checks_table,
                "tuning_chart": tuning_chart,
                "tuning_table": tuning_table,
                "usage_csv": usage_csv,
                "usage_table": usage_table,
            },
        )
