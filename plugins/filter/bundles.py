# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for bundles: the platforms of hosts, and the disk space that a bundle needs there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._bundle.room import shortages
from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import name_of, named
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained


def bundle_target(facts: Mapping[str, Any]) -> str:
    if missing := [name for name in ("distribution", "distribution_version", "architecture") if name not in facts]:
        raise CopilotError(
            f"the facts lack {', '.join(missing)}: gather the subsets distribution and platform, or set bundle_targets"
        )
    return name_of(facts)


def bundle_target_facts(name: str) -> dict[str, str]:
    return named([name])[0].facts


def bundle_shortages(needs: Mapping[str, int], file_systems: Mapping[str, str]) -> list[str]:
    return shortages(needs, file_systems)


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "bundle_shortages": bundle_shortages,
                "bundle_target": bundle_target,
                "bundle_target_facts": bundle_target_facts,
            }
        )
