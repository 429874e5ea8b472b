# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LiteLLM's ``custom_auth``. The gateway has checked the key, and our own layer the caller's name."""

from __future__ import annotations

from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

from .turn import current_turn


async def user_api_key_auth(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """Called by LiteLLM for each request."""
    turn = current_turn.get()
    assert turn is not None, "nothing reaches LiteLLM but by us"
    user = turn.asked.user
    return UserAPIKeyAuth(api_key=f"name-{user}", user_id=user, user_role=LitellmUserRoles.INTERNAL_USER)
