# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for models: the catalogue, and the models of a host."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._model import presets, settings
from ansible_collections.slm.copilot.plugins.module_utils._model.advice import advice_table, model_speeds
from ansible_collections.slm.copilot.plugins.module_utils._model.catalogue import catalogue_problems
from ansible_collections.slm.copilot.plugins.module_utils._server import router
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "catalogue_problems": catalogue_problems,
                "served_models": settings.served,
                "model_paths": settings.file_paths,
                "model_speculations": settings.usual_speculations,
                "with_draft_models": settings.with_drafts,
                "model_slots": settings.slots_of,
                "model_settings": settings.resolve,
                "planned_settings": settings.planned_settings,
                "model_arguments": presets.arguments,
                "model_presets": presets.presets,
                "model_with_context": settings.plan_with_context,
                "model_files": settings.files,
                "model_speeds": model_speeds,
                "models_advice": advice_table,
                "models_table": router.table,
                "models_at_start": presets.loaded_at_start,
            },
        )
