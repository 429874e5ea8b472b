# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about keys, over the decisions in module_utils/_api_keys.py and _fleet_keys.py."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._api_keys import keys_that_differ, with_keys_in_use
from ansible_collections.slm.copilot.plugins.module_utils._fleet_keys import gateway_keys


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"gateway_keys": gateway_keys, "with_keys_in_use": with_keys_in_use, "keys_that_differ": keys_that_differ}
