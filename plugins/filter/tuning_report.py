# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports of what model_tune measured, over the functions in module_utils/_host/tuning.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning import chart, table


def _report(name: str, function: Callable[[Any], str]) -> Callable[[Any], str]:
    def report(results: Any) -> str:
        if not isinstance(results, Mapping) or not all(isinstance(one, Mapping) and "figures" in one for one in results.values()):
            raise AnsibleFilterError(f"{name}: must be given the tuning dictionaries of slm.copilot.model_tune, by host")
        return function(results)

    return report


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"tuning_table": _report("tuning_table", table), "tuning_chart": _report("tuning_chart", chart)}
