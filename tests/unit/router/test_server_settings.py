# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""router.json, and the list of packages of its service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from copilot_router.server_settings import SettingsError, parse

ROLES = Path(__file__).resolve().parents[3] / "roles"
LEAST = {"engine_socket": "/run/x/y.sock", "models": {"one": 2, "two": 0}}


def test_what_is_said_holds_and_the_rest_is_as_usual() -> None:
    found = parse(json.dumps({**LEAST, "pinned": ["two"], "restart_wait": 5}))
    assert (found.engine_socket, found.models, found.pinned, found.restart_wait) == (
        "/run/x/y.sock",
        LEAST["models"],
        ("two",),
        5,
    )
    assert (found.first_sign < 10, found.signs, found.state_length, found.several) == (True, 15, 60, True)
    assert not parse(json.dumps({**LEAST, "models": {"one": 1}})).several


@pytest.mark.parametrize(
    ("other", "words"),
    [
        pytest.param({"engine_socket": ""}, "engine_socket is missing", id="no socket"),
        pytest.param({"models": {}}, "models is missing", id="no models"),
        pytest.param({"models": ["one"]}, "whole numbers of slots", id="a list of models"),
        pytest.param({"models": {"one": -1}}, "whole numbers of slots", id="fewer slots than none"),
        pytest.param({"models": {"one": True}}, "whole numbers of slots", id="a switch for slots"),
        pytest.param({"pinned": ["three"]}, "pinned has three", id="pinned stranger"),
        pytest.param({"histories": 1}, "histories is 1: give true or false", id="a number for a switch"),
        pytest.param({"restart_wait": "5"}, "restart_wait is '5'", id="text for a time"),
        pytest.param({"signs": -1}, "signs is -1", id="time that ends before"),
        pytest.param({"restart": 5}, "unknown restart", id="misspelt"),
    ],
)
def test_what_is_wrong_is_named(other: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        parse(json.dumps({**LEAST, **other}))


@pytest.mark.parametrize("text", ["{", "[]"], ids=["no JSON", "no object"])
def test_what_is_no_file_of_settings(text: str) -> None:
    with pytest.raises(SettingsError):
        parse(text)


def packages(role: str) -> dict[str, str]:
    """Returns package -> version and hashes."""
    text = re.sub(r"(?m)^ *#.*\n", "", (ROLES / role / "files/requirements.txt").read_text())
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)
    return {block.partition("==")[0]: block for block in blocks if block.strip()}


def test_both_services_have_the_same_packages() -> None:
    """One package runs in both: as the router of a server, and under LiteLLM."""
    ours, litellm = packages("router"), packages("litellm_lb")
    assert set(ours) >= {"h11", "httpx", "uvicorn"}
    assert ours == {name: litellm.get(name) for name in ours}
