# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter for client configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._clients.folders import parse_models
from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import Access, Endpoint, client_settings
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


def settings_for(endpoint: Mapping[str, Any], key: str, ca: str = "") -> dict[str, str]:
    models = parse_models(endpoint["models"], "endpoint")
    return client_settings(Access(Endpoint(endpoint["name"], endpoint["url"], models), str(key), str(ca)))


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "client_settings": settings_for,
            },
        )
