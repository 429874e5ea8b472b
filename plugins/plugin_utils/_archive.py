# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Base class of the actions that write and read an archive of a fleet's state."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


class ArchiveAction(ActionBase):
    """An action on the controller, about an archive and a fleet's folder."""

    TRANSFERS_FILES = False
    _requires_connection = False
    more_options: ClassVar[dict[str, dict[str, Any]]] = {}  # of one action, as argument specifications have them

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "path": {"type": "path", "required": True},
                "folder": {"type": "path", "required": True},
                "model_lock_file": {"type": "str", "default": ""},
                "password_file": {"type": "str", "default": "", "no_log": False},
                **self.more_options,
            }
        )
        try:
            return {**result, **self.act(**arguments)}
        except CopilotError as error:
            return {**result, "failed": True, "msg": str(error)}

    @abstractmethod
    def act(self, *, path: str, folder: str, model_lock_file: str, password_file: str, **more: Any) -> dict[str, Any]:
        """Runs the action, and returns the result of the task. Raises CopilotError."""
