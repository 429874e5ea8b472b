# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the models of a host, over the decisions in module_utils/_model/models.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import models
from ansible_collections.slm.copilot.plugins.module_utils._server import router


def _filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def filtered(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except CopilotError as error:
            raise AnsibleFilterError(f"{name}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise AnsibleFilterError(f"{name}: its input is not of the form that its documentation says: {error!r}") from error

    return filtered


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            name: _filter(name, function)
            for name, function in (
                ("served_models", models.served),
                ("model_paths", models.file_paths),
                ("model_slots", models.slots_of),
                ("model_settings", models.resolve),
                ("planned_settings", models.planned_settings),
                ("model_arguments", models.arguments),
                ("model_presets", models.presets),
                ("model_with_context", models.plan_with_context),
                ("model_files", models.files),
                ("models_table", router.table),
                ("models_at_start", models.loaded_at_start),
            )
        }
