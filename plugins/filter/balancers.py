# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for balancers: their backends, and the configuration of LiteLLM."""

from __future__ import annotations

from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.urls import server_url
from ansible_collections.slm.copilot.plugins.plugin_utils._filters import explained
from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config
from ansible_collections.slm.copilot.plugins.plugin_utils._pool import addresses, extra_keys, offered, pool


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return explained(
            {
                "balancer_pool": pool,
                "backend_addresses": addresses,
                "extra_backend_keys": extra_keys,
                "litellm_config": litellm_config,
                "offered_models": offered,
                "server_url": server_url,
            },
            unprefixed=(
                "balancer_pool",
                "extra_backend_keys",
                "litellm_config",
            ),
        )
