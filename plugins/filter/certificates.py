# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for certificates."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.authority import key_opens
from ansible_collections.slm.copilot.plugins.module_utils._access.certificates import (
    acme_failure,
    provided_problems,
    reissue_reason,
    stable_ipv6,
    subject_names,
)
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "certificate_names": subject_names,
                "certificate_reissue_reason": reissue_reason,
                "certificate_problems": provided_problems,
                "acme_failure": acme_failure,
                "stable_ipv6": stable_ipv6,
                "ca_key_opens": key_opens,
            },
        )
