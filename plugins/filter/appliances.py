# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for appliances: their OpenNebula files."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.marketplace import files
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained({"appliance_files": files})
