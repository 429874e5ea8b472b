# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LiteLLM's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config


def test_litellm_never_ends_a_request_by_itself() -> None:
    config = litellm_config({"request_timeout": 3600, "zone": "madrid"})
    times = [
        config["litellm_settings"]["request_timeout"],
        config["router_settings"]["timeout"],
        config["router_settings"]["stream_timeout"],
    ]
    assert min(times) == 7 * 24 * 3600


def test_litellm_does_not_do_what_the_router_does() -> None:
    config = litellm_config({"request_timeout": 3600})
    assert "model_list" not in config
    assert config["general_settings"]["background_health_checks"] is False
    assert config["router_settings"]["disable_cooldowns"] is True
    assert [config[section]["num_retries"] for section in ("litellm_settings", "router_settings")] == [0, 0]


def test_each_call_returns_its_own() -> None:
    litellm_config({"request_timeout": 1})["litellm_settings"].clear()
    assert litellm_config({"request_timeout": 1})["litellm_settings"]["num_retries"] == 0


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="missing"),
        pytest.param({"request_timeout": "long"}, id="text"),
        pytest.param({"request_timeout": True}, id="boolean"),
        pytest.param({"request_timeout": 0}, id="zero"),
        pytest.param({"request_timeout": 10**7}, id="more than a week"),
    ],
)
def test_refuses_what_is_no_time(settings: dict[str, Any]) -> None:
    with pytest.raises(CopilotError, match="request_timeout is a .* give seconds from 1 to 604800"):
        litellm_config(settings)
