# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for keys."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import gateway_keys, kept_keys
from ansible_collections.slm.copilot.plugins.module_utils._access.gateway_map import key_problems
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import keys_that_differ, with_keys_in_use
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "gateway_keys": gateway_keys,
                "gateway_keys_problems": key_problems,
                "kept_keys": kept_keys,
                "with_keys_in_use": with_keys_in_use,
                "keys_that_differ": keys_that_differ,
            },
        )
