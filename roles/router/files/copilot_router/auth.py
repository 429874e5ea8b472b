# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets in who has a key: LiteLLM's ``custom_auth``.

The file has one line for each key: its owner's name, a space, and the SHA-256 of the key in hex. ``#`` starts a comment.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
from pathlib import Path

from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from .settings import WatchedFile

logger = logging.getLogger(__name__)
_LINE = re.compile(r"(\S+) ([0-9a-f]{64})")


def parse_hashes(text: str) -> dict[str, bytes]:
    """Returns owner -> digest of the key. Lines that are neither a key nor a comment are left out: nobody gets in by them."""
    matches = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: bytes.fromhex(match[2]) for match in matches if match}


def owner_of(key: str, hashes: dict[str, bytes]) -> str | None:
    """Returns whose key this is. Looks at all of them, so that the time taken tells nothing."""
    digest = hashlib.sha256(key.encode()).digest()
    owner = None
    for name, expected in hashes.items():
        if hmac.compare_digest(digest, expected):
            owner = name
    return owner


class KeyFile:
    """The keys that are good now."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
        self._hashes: dict[str, bytes] = {}

    def owner(self, key: str) -> str | None:
        """Returns whose key this is by the file as it is at this moment; a file that cannot be read lets nobody in."""
        try:
            text = self._file.changed()
        except (OSError, ValueError) as error:
            logger.error("nobody is let in: the file of keys cannot be read: %s", error)
            return None
        if text is not None:
            self._hashes = parse_hashes(text)
        return owner_of(key, self._hashes)


_keys = KeyFile(Path(os.environ.get("COPILOT_API_KEYS_FILE", "/etc/slm-copilot/proxy-keys")))


async def user_api_key_auth(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """Called by LiteLLM for each request."""
    owner = _keys.owner((api_key or "").removeprefix("Bearer ").strip())
    if owner is None:
        message = "Incorrect API key provided." if api_key else "You didn't provide an API key."
        raise ProxyException(
            message=f"{message} Send it as 'Authorization: Bearer KEY'.",
            type="invalid_request_error",
            param=None,
            code=401,
            openai_code="invalid_api_key",
        )
    # Not the key itself: LiteLLM puts this into logs and metadata.
    return UserAPIKeyAuth(api_key=f"name-{owner}", user_id=owner, user_role=LitellmUserRoles.INTERNAL_USER)
