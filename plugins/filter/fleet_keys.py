# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about keys, over the decisions in module_utils/_access/keys.py and fleet_keys.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import gateway_keys, kept_keys
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import keys_that_differ, with_keys_in_use
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


def _kept_keys(path: str) -> dict[str, str]:
    try:
        return kept_keys(path)
    except CopilotError as error:
        raise AnsibleFilterError(f"kept_keys: {error}") from None


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "gateway_keys": gateway_keys,
            "kept_keys": _kept_keys,
            "with_keys_in_use": with_keys_in_use,
            "keys_that_differ": keys_that_differ,
        }
