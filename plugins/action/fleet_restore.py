# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restores a fleet's state on the controller; see the module of the same name for its documentation."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.slm.copilot.plugins.module_utils._access import backup
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._archive import ArchiveAction
from ansible_collections.slm.copilot.plugins.plugin_utils._vault import decrypted, read_password

display = Display()


class ActionModule(ArchiveAction):
    more_options: ClassVar = {"replace": {"type": "bool", "default": False}}

    def act(self, *, path: str, folder: str, model_lock_file: str, password_file: str, **more: Any) -> dict[str, Any]:
        try:
            with open(path, "rb") as file:
                archive = file.read()
        except OSError as error:
            raise CopilotError(f"backup_file: {path} cannot be read: {error.strerror}") from None
        state = backup.unpack(decrypted(archive, read_password(password_file, repeat=False), path))
        check = self._task.check_mode
        with nullcontext() if check or not os.path.isdir(folder) else backup.quiet(folder):
            plan = backup.plan_restore(state, folder, model_lock_file, more["replace"])
            if not check:
                backup.restore(plan, folder, model_lock_file)
        would = "would " if check else ""
        for target, action in plan.actions.items():
            display.display(f"{would}{action}: {target}")
        return {"changed": bool(plan.actions), "fleet": state.fleet, "actions": plan.actions}
