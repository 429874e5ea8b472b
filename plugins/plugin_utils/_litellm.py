# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The content of LiteLLM's ``config.yaml``.

It contains no models or backends: these are in ``pool.json``, which the router reads while it runs. LiteLLM's own routing,
retries and health checks are disabled, since the router does these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

# For LiteLLM a request lasts until all of the answer was sent. How long a backend may be silent is the router's to say.
MAX_TIMEOUT = 7 * 24 * 3600


def litellm_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns LiteLLM's configuration.

    :param settings: ``request_timeout``: for how many seconds a backend may be silent, queue and prompt included. More keys
        are allowed and not looked at, so that the content of ``pool.json`` can be given.

    Raises CopilotError when ``request_timeout`` is no number of seconds from 1 to a week.
    """
    value = settings.get("request_timeout")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= MAX_TIMEOUT:
        raise CopilotError(
            f"litellm_lb_request_timeout is a {type(value).__name__} ({value!r}): give seconds from 1 to {MAX_TIMEOUT}; "
            "a long prompt that waits for a slot takes many minutes on a CPU, so the default is 3600"
        )
    return {
        "general_settings": {
            "custom_auth": "copilot_router.auth.user_api_key_auth",
            "background_health_checks": False,
        },
        "litellm_settings": {
            "request_timeout": MAX_TIMEOUT,
            "num_retries": 0,
            "telemetry": False,
            # Prompts are code: they stay out of logs.
            "turn_off_message_logging": True,
        },
        "router_settings": {
            "num_retries": 0,
            "disable_cooldowns": True,
            "timeout": MAX_TIMEOUT,
            "stream_timeout": MAX_TIMEOUT,
        },
    }
