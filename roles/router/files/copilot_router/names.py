# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names of developers in logs and records. Pure."""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

PSEUDONYM_DIGITS = 16


class Mode(StrEnum):
    """By name, by a hash of it with a key of the fleet, or not at all, since nothing is kept."""

    OFF = "off"
    PSEUDONYM = "pseudonym"
    NAME = "name"


class Names:
    """What developers are called.

    :param key: of pseudonyms.
    :param what: what is kept, for the error when the key is missing.
    """

    def __init__(self, mode: Mode, key: str, what: str) -> None:
        if mode is Mode.PSEUDONYM and not key.strip():
            raise ValueError(f"{what}: pseudonyms need a key, which is missing")
        self.mode, self._key = mode, key.strip().encode()

    def of(self, user: str) -> str:
        """Returns what somebody is called."""
        if self.mode is not Mode.PSEUDONYM or not user:
            return user or "-"
        return hmac.new(self._key, user.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]
