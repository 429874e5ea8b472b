# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for a host: its platform, its engine, its metrics, and why a service did not start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan
from ansible_collections.slm.copilot.plugins.module_utils._host.interfaces import interface_of
from ansible_collections.slm.copilot.plugins.module_utils._host.platforms import platform_problem
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained
from ansible_collections.slm.copilot.plugins.plugin_utils._startup import gateway_failure, startup_failure
from ansible_collections.slm.copilot.plugins.plugin_utils._textfile import host_metrics

FACTS = ("distribution", "distribution_version", "architecture", "service_mgr")


def engine_build_plan(
    source: Mapping[str, Any], host: Mapping[str, Any], extra_options: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return build_plan(source, host, extra_options or {})


def problem_of_platform(facts: Mapping[str, Any]) -> str:
    if missing := [name for name in FACTS if name not in facts]:
        raise CopilotError(f"the facts lack {', '.join(missing)}: gather the subsets distribution, platform and service_mgr")
    return platform_problem(facts)


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "engine_build_plan": engine_build_plan,
                "gateway_failure": gateway_failure,
                "host_metrics": host_metrics,
                "interface_of": interface_of,
                "platform_problem": problem_of_platform,
                "startup_failure": startup_failure,
            },
            unprefixed=(
                "engine_build_plan",
                "host_metrics",
            ),
        )
