# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who gets a certificate, and whose is revoked."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.client_certificates import (
    ALPHABET,
    Issued,
    check_request,
    encoding_of,
    list_reason,
    make_plan,
    new_password,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
YEAR = NOW + timedelta(days=365)
CA_END = NOW + timedelta(days=3650)
SOON = NOW + timedelta(days=10)
PAST = NOW - timedelta(days=1)


def alice(serial: int = 1, end: datetime = YEAR) -> Issued:
    return Issued("alice", serial, end)


@pytest.mark.parametrize(
    ("issued", "revoked", "present", "reason"),
    [
        pytest.param([], [], {}, "there is none", id="first"),
        pytest.param([alice()], [], {}, "there is none", id="lost"),
        pytest.param([alice()], [], {"alice": alice()}, None, id="there"),
        pytest.param([alice(end=SOON)], [], {"alice": alice(end=SOON)}, "ends on 2026-06-11", id="soon to end"),
        pytest.param([alice(end=PAST)], [], {"alice": alice(end=PAST)}, "ends on 2026-05-31", id="ended"),
        pytest.param([alice()], [1], {"alice": alice()}, "is revoked", id="back after a revocation"),
    ],
)
def test_issue(issued: list[Issued], revoked: list[int], present: dict[str, Issued], reason: str | None) -> None:
    plan = make_plan(["alice"], issued, revoked, present, 30, CA_END, NOW)
    assert plan.revoke == {}
    if reason is None:
        assert plan.issue == {}
    else:
        assert reason in plan.issue["alice"]


@pytest.mark.parametrize(
    ("issued", "revoked", "expected"),
    [
        pytest.param([alice(1), alice(2)], [], {"alice": [1, 2]}, id="all that somebody has"),
        pytest.param([alice(1), alice(2)], [1], {"alice": [2]}, id="one is revoked already"),
        pytest.param([alice(1, PAST), alice(2)], [], {"alice": [2]}, id="one has ended"),
        pytest.param([Issued("bob", 3, YEAR)], [], {}, id="of somebody who stays"),
    ],
)
def test_revoke(issued: list[Issued], revoked: list[int], expected: dict[str, list[int]]) -> None:
    assert make_plan(["bob"], issued, revoked, {"bob": Issued("bob", 3, YEAR)}, 30, CA_END, NOW).revoke == expected


def test_what_ends_with_its_ca_is_not_issued_anew_in_each_run() -> None:
    present = {"alice": Issued("alice", 1, SOON)}
    assert make_plan(["alice"], [], [], present, 30, SOON, NOW).issue == {}
    assert "ends on 2026-06-11" in make_plan(["alice"], [], [], present, 30, SOON + timedelta(days=1), NOW).issue["alice"]


@pytest.mark.parametrize(
    ("end", "same_ca", "more", "expected"),
    [
        pytest.param(None, False, 0, "there is none", id="none"),
        pytest.param(YEAR, False, 0, "another CA", id="new CA"),
        pytest.param(YEAR, True, 1, "are revoked", id="revocation"),
        pytest.param(SOON, True, 0, "2026-06-11", id="soon to end"),
        pytest.param(YEAR, True, 0, "", id="good"),
    ],
)
def test_list(end: datetime | None, same_ca: bool, more: int, expected: str) -> None:
    said = list_reason(end, same_ca, more, 180, NOW)
    assert expected in said if expected else said == ""


@pytest.mark.parametrize(
    ("users", "days", "before", "password", "told"),
    [
        pytest.param(["../alice"], 365, 30, None, "'../alice'", id="path for a name"),
        pytest.param(["a" * 65], 365, 30, None, "1 to 64", id="longer than a common name"),
        pytest.param(["alice", "alice"], 365, 30, None, "twice", id="twice"),
        pytest.param(["alice"], 30, 30, None, "each run would renew", id="renewed for ever"),
        pytest.param(["alice"], 365, 0, None, "longer than that", id="never renewed"),
        pytest.param(["alice"], 365, 30, "short", "has 5 characters", id="short password"),
        pytest.param(["alice"], 365, 30, "unprintable\tpassword", "printable", id="password with a tab"),
    ],
)
def test_requests_that_cannot_work(users: list[str], days: int, before: int, password: str | None, told: str) -> None:
    with pytest.raises(CopilotError) as error:
        check_request(users, days, before, password)
    assert told in str(error.value)
    assert password is None or password not in str(error.value)


def test_a_good_request() -> None:
    check_request(["alice", "b.ob-2"], 365, 30, "twelve chars")


def test_passwords_differ_and_can_be_read_out() -> None:
    made = {new_password() for _round in range(50)}
    assert len(made) == 50
    assert all(len(one) == 27 and set(one) <= {*ALPHABET, "-"} for one in made)


def test_an_encoding_that_is_neither() -> None:
    assert encoding_of(b"0\x82") == ""
