# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports of what endpoint_check found, over the functions in module_utils/_server/checks.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import (
    checks_junit,
    checks_summary,
    checks_table,
)


def _report(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def report(results: Any) -> Any:
        single = results.values() if isinstance(results, Mapping) else results
        if isinstance(single, str) or not isinstance(single, Iterable) or not all(isinstance(one, Mapping) for one in single):
            raise AnsibleFilterError(f"{name}: must be given results of slm.copilot.endpoint_check, as a list or by name")
        return function(results)

    return report


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            name: _report(name, function)
            for name, function in (
                ("checks_table", checks_table),
                ("checks_junit", checks_junit),
                ("checks_summary", checks_summary),
            )
        }
