# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module of the same name in the background and shows its progress."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.plugin_utils._long_job import LongJobActionBase


class ActionModule(LongJobActionBase):
    module_name = "slm.copilot.appliance_image"

    def label(self, args: dict[str, Any]) -> str:
        return "image"
