# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keys of a fleet: their owners and expiry dates, and which of them a host's gateway accepts."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.gateway_map import NEVER
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import parse_key_file
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

SHARED = "shared"
BALANCER = "balancer"
MONITOR = "monitor@fleet"  # no developer is called so
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def last_day(text: Any) -> datetime.date:
    """Returns the last day of a key. YAML makes a date of one without quotes. Raises CopilotError for what is no day."""
    try:
        if not _DATE.fullmatch(str(text)):
            raise ValueError
        return datetime.date.fromisoformat(str(text))
    except ValueError:
        raise CopilotError(f"{str(text)!r} is not a date: give the last day of the key (UTC), such as 2026-12-31") from None


def end_of(user: Mapping[str, Any]) -> int:
    """Returns when a developer's key expires, in seconds since 1970: at the end of its last day (UTC). 0 means never."""
    if user.get("expires") is None:
        return NEVER
    midnight = datetime.datetime.combine(last_day(user["expires"]), datetime.time(), datetime.timezone.utc)
    return int(midnight.timestamp()) + 24 * 60 * 60


def expired(users: Sequence[Mapping[str, Any]], now: float) -> list[Mapping[str, Any]]:
    """Returns the present developers whose keys have expired.

    :param now: seconds since 1970.
    """
    return [one for one in users if one.get("state", "present") == "present" and NEVER < end_of(one) <= now]


def kept_keys(path: str) -> dict[str, str]:
    """Returns the keys in a file on the controller by name; empty if it does not exist. Raises CopilotError."""
    try:
        return parse_key_file(Path(path).read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CopilotError(f"{path} cannot be read: {error.strerror}") from None
    except CopilotError as error:
        raise CopilotError(f"{path} is not a file of keys: {error}. Take it from a backup") from None


def gateway_keys(
    users: Sequence[Mapping[str, Any]],
    keys: Mapping[str, str],
    balancer_keys: Sequence[str] = (),
    monitor_key: str = "",
    balancer_hashes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Returns the accepted keys of a gateway in the form of ``gateway_keys``, which contains hashes instead of keys.

    :param users: the developers, as in ``copilot_users``.
    :param keys: names and keys of developers, and of ``shared``. A developer without a key yet, as in check mode, is left out.
    :param balancer_keys: those that balancers call this host with: one, or for a while the former one as well.
    :param monitor_key: the key that opens metrics only; empty: there is none.
    :param balancer_hashes: the SHA-256 of keys of balancers outside the fleet.
    """
    wanted = [{"name": SHARED}, *(one for one in users if one.get("state", "present") == "present")]
    entries = [
        _entry(one["name"], "admin" if one.get("admin") else "developer", keys[one["name"]], end_of(one))
        for one in wanted
        if one["name"] in keys
    ]
    others = [*((BALANCER, "balancer", key) for key in balancer_keys), (MONITOR, "monitor", monitor_key)]
    outside = [{"name": BALANCER, "role": "balancer", "sha256": one, "expires": NEVER} for one in balancer_hashes]
    return entries + [_entry(name, role, key, NEVER) for name, role, key in others if key] + outside


def _entry(name: str, role: str, key: str, expires: int) -> dict[str, Any]:
    return {"name": name, "role": role, "sha256": hashlib.sha256(key.encode()).hexdigest(), "expires": expires}
