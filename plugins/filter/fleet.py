# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for a fleet: its folder, its hosts, and who may connect to them."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access import fleet
from ansible_collections.slm.copilot.plugins.module_utils._access.firewall import host_address, sources
from ansible_collections.slm.copilot.plugins.module_utils._server.report import fleet_table
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained
from ansible_collections.slm.copilot.plugins.plugin_utils._fleet_page import fleet_page


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "firewall_sources": sources,
                "fleet_folder_beside": fleet.folder_beside,
                "fleet_host_problem": fleet.host_problem,
                "fleet_id": fleet.read_id,
                "fleet_page": fleet_page,
                "fleet_table": fleet_table,
                "host_address": host_address,
            },
            unprefixed=("firewall_sources",),
        )
