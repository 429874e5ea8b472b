# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes from the gateway who asks: LiteLLM's ``custom_auth``.

The gateway alone knows keys. It says who asks in X-Copilot-User and X-Copilot-Role, after it has deleted what a client said
there, and nobody else can reach the service's socket.
"""

from __future__ import annotations

from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from .transport import current_turn

USER, ROLE = "x-copilot-user", "x-copilot-role"
ROLES = ("developer", "admin", "balancer")


async def user_api_key_auth(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """Called by LiteLLM for each request."""
    user, role = request.headers.get(USER, ""), request.headers.get(ROLE, "")
    if not user or role not in ROLES:
        raise ProxyException(
            message="Nobody said who asks: send your key to the gateway, as 'Authorization: Bearer KEY'.",
            type="invalid_request_error",
            param=None,
            code=401,
            openai_code="invalid_api_key",
        )
    if turn := current_turn.get(None):
        turn.user = user
    return UserAPIKeyAuth(api_key=f"name-{user}", user_id=user, user_role=LitellmUserRoles.INTERNAL_USER)
