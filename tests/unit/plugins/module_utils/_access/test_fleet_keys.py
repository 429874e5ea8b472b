# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whom a gateway lets in, and until when."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import end_of, gateway_keys, kept_keys
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import render_key_file
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

KEYS = {"shared": "sk-of-all-0123456789", "alice": "sk-of-alice-0123456789", "bob": "sk-of-bob-0123456789"}
NEW_YEAR = 1798761600  # 2027-01-01T00:00:00Z


def entry(name: str, key: str, role: str = "developer", expires: int = 0) -> dict[str, Any]:
    return {"name": name, "role": role, "sha256": hashlib.sha256(key.encode()).hexdigest(), "expires": expires}


SHARED = entry("shared", KEYS["shared"])


@pytest.mark.parametrize(
    ("users", "keys", "balancer_keys", "expected"),
    [
        pytest.param([], KEYS, [], [SHARED], id="the shared key alone"),
        pytest.param([{"name": "alice"}], KEYS, [], [SHARED, entry("alice", KEYS["alice"])], id="a developer"),
        pytest.param(
            [{"name": "alice", "admin": True}], KEYS, [], [SHARED, entry("alice", KEYS["alice"], "admin")], id="an administrator"
        ),
        pytest.param(
            [{"name": "alice", "admin": False}], KEYS, [], [SHARED, entry("alice", KEYS["alice"])], id="no administrator"
        ),
        pytest.param(
            [{"name": "bob", "expires": "2026-12-31"}],
            KEYS,
            [],
            [SHARED, entry("bob", KEYS["bob"], expires=NEW_YEAR)],
            id="good through the last day",
        ),
        pytest.param([{"name": "alice", "state": "absent"}], KEYS, [], [SHARED], id="withdrawn"),
        pytest.param([{"name": "alice"}], {}, [], [], id="no keys yet"),
        pytest.param(
            [{"name": "alice"}],
            {},
            ["sk-of-balancers-01234", ""],
            [entry("balancer", "sk-of-balancers-01234", "balancer")],
            id="a backend",
        ),
        pytest.param(
            [],
            KEYS,
            ["sk-of-balancers-01234", ""],
            [SHARED, entry("balancer", "sk-of-balancers-01234", "balancer")],
            id="a balancer that is a server too",
        ),
        pytest.param(
            [],
            {},
            ["sk-of-balancers-01234", "sk-of-balancers-former"],
            [entry("balancer", key, "balancer") for key in ("sk-of-balancers-01234", "sk-of-balancers-former")],
            id="a key that is being replaced",
        ),
    ],
)
def test_whom_a_gateway_lets_in(
    users: list[dict[str, Any]], keys: dict[str, str], balancer_keys: list[str], expected: list[dict[str, Any]]
) -> None:
    found = gateway_keys(users, keys, balancer_keys)
    assert found == expected
    assert not [key for key in (*KEYS.values(), "sk-of-balancers") if key in str(found)]


def test_a_monitors_key_is_for_every_gateway() -> None:
    sha256 = hashlib.sha256(b"sk-of-a-balancer-elsewhere").hexdigest()
    assert gateway_keys([], {}, balancer_hashes=[sha256]) == [entry("balancer", "sk-of-a-balancer-elsewhere", "balancer")]
    assert gateway_keys([], {}, monitor_key="sk-of-monitors") == [entry("monitor@fleet", "sk-of-monitors", "monitor")]


def test_the_controllers_keys(tmp_path: Path) -> None:
    assert kept_keys(str(tmp_path / "none")) == {}
    kept = tmp_path / "api-keys"
    kept.write_bytes(render_key_file(KEYS))
    assert kept_keys(str(kept)) == KEYS
    kept.write_bytes(b"sk-of-nobody\n")
    with pytest.raises(
        CopilotError, match=r"api-keys is not a file of keys: its first line is not .* Take it from a backup"
    ) as told:
        kept_keys(str(kept))
    assert "sk-of-nobody" not in str(told.value)
    with pytest.raises(CopilotError, match="cannot be read: Is a directory"):
        kept_keys(str(tmp_path))


@pytest.mark.parametrize(
    ("expires", "expected"),
    [
        pytest.param(None, 0, id="never"),
        pytest.param("2026-12-31", NEW_YEAR, id="text"),
        pytest.param(datetime.date(2026, 12, 31), NEW_YEAR, id="what YAML makes of it without quotes"),
        pytest.param("1970-01-01", 24 * 60 * 60, id="long past"),
    ],
)
def test_when_a_key_ends(expires: Any, expected: int) -> None:
    assert end_of({"name": "alice", "expires": expires}) == expected


@pytest.mark.parametrize("expires", ["2026-02-30", "2026-1-1", "tomorrow", "2026-W53-4", "20261231", 1798761600, "", True])
def test_what_is_no_day(expires: Any) -> None:
    with pytest.raises(CopilotError, match="is not a date"):
        end_of({"name": "alice", "expires": expires})
