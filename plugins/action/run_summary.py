# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints the summary of a run; see the module of the same name for its documentation."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.slm.copilot.plugins.plugin_utils._summary import Host, summary

display = Display()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "before": {"type": "dict", "required": True},
                "after": {"type": "dict", "required": True},
                "keys": {"type": "str", "required": True, "no_log": False},
            }
        )
        before, after = arguments["before"], arguments["after"]
        hosts = [Host(name, before.get(name) or {}, report) for name, report in after.items() if report]
        here = os.path.join(os.getcwd(), "")
        sources = [source.removeprefix(here) for source in variables["ansible_inventory_sources"]]
        lines = summary(hosts, sources, arguments["keys"], self._task.check_mode) if hosts else []
        for line in lines:
            display.display(line)
        return {**result, "changed": False, "lines": lines}
