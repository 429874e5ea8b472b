# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module of the same name when it is the host's turn, and shows the number of in-flight requests."""

from __future__ import annotations

import shlex
import time
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils import _turns
from ansible_collections.slm.copilot.plugins.plugin_utils._long_job import LongJobActionBase, display

SECONDS_BETWEEN_HOSTS = 1.0  # until every balancer knows that the one before is back


class ActionModule(LongJobActionBase):
    module_name = "slm.copilot.service_restart"

    def label(self, args: dict[str, Any]) -> str:
        return str(args.get("unit"))

    def run_job(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        hosts = list(task_vars.get("ansible_play_hosts_all", []))
        host = str(task_vars.get("inventory_hostname"))
        try:
            number = _turns.permits(str(args.get("batch", "1")), len(hosts))
        except CopilotError as error:
            raise AnsibleActionFail(f"batch: {error}") from None
        if self._task.check_mode or not self._serves(args):
            return self.run_plainly(args, task_vars)
        try:
            with _turns.turn(C.DEFAULT_LOCAL_TMP, number, hosts.index(host) if host in hosts else 0):
                result = super().run_job(args, task_vars)
                for line in result.get("said", []):
                    display.display(f"{host}: {line}")
                if result.get("failed"):
                    _turns.fail(C.DEFAULT_LOCAL_TMP, host)
                elif number < len(hosts):
                    time.sleep(SECONDS_BETWEEN_HOSTS)
                return result
        except CopilotError as error:
            return {"failed": True, "restarted": False, "msg": str(error)}

    def _serves(self, args: dict[str, Any]) -> bool:
        """Whether there is somebody who would notice."""
        asked = self._low_level_execute_command(f"systemctl is-active {shlex.quote(str(args.get('unit')))}")
        return asked["stdout"].strip() in ("active", "activating", "reloading")
