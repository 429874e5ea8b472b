# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the models of a host, over the decisions in module_utils/_model."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import presets, settings
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
                ("served_models", settings.served),
                ("model_paths", settings.file_paths),
                ("model_slots", settings.slots_of),
                ("model_settings", settings.resolve),
                ("planned_settings", settings.planned_settings),
                ("model_arguments", presets.arguments),
                ("model_presets", presets.presets),
                ("model_with_context", settings.plan_with_context),
                ("model_files", settings.files),
                ("models_table", router.table),
                ("models_at_start", presets.loaded_at_start),
            )
        }
