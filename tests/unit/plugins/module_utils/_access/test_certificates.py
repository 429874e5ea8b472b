# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and renewals of certificates."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.certificates import (
    acme_failure,
    covers,
    provided_problems,
    reissue_reason,
    stable_ipv6,
    subject_names,
)

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
NAMES = ["DNS:localhost", "DNS:madrid-1", "IP:127.0.0.1"]
GOOD = {
    "subject_alt_name": NAMES,
    "not_after": "20271231235959Z",
    "public_key_fingerprints": {"sha256": "aa:bb"},
    "authority_key_identifier": "11:22",
}


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(["madrid-1", "Madrid-1", None, ""], ["DNS:madrid-1"], id="repetitions, capitals and gaps"),
        pytest.param(["100.64.1.5", "2001:db8:0:0::1"], ["IP:100.64.1.5", "IP:2001:db8::1"], id="addresses"),
        pytest.param(["fe80::1", "169.254.1.1", "127.0.0.1", "::1", "0.0.0.0"], [], id="addresses nobody else reaches"),
        pytest.param(["my_host", "a host", "-x"], [], id="inventory names that are no host names"),
    ],
)
def test_subject_names(candidates: list[str | None], expected: list[str]) -> None:
    assert subject_names(candidates) == sorted(["DNS:localhost", "IP:127.0.0.1", *expected])


def test_stable_ipv6() -> None:
    table = """\
20010db8000000006581c22f4e6e24da 03 40 00 01       v0
20010db800000000505400fffe123456 03 40 00 00       v0
fd000000000000000000000000000001 03 40 00 82       v0
fd000000000000000000000000000002 03 40 00 c0       v0
20010db8000100000000000000000001 03 40 00 a0       v0
fe80000000000000f094d8fffe2bb628 03 40 20 80       v0
00000000000000000000000000000001 01 80 10 80       lo
"""
    assert stable_ipv6(table) == ["2001:db8::5054:ff:fe12:3456", "fd00::1"]
    assert stable_ipv6("") == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("copilot.example.com", True, id="exact"),
        pytest.param("COPILOT.example.com", True, id="capitals"),
        pytest.param("a.zone.example.com", True, id="wildcard"),
        pytest.param("a.b.zone.example.com", False, id="wildcard covers one label"),
        pytest.param("example.com", False, id="parent"),
        pytest.param("2001:db8::1", True, id="address"),
        pytest.param("192.0.2.9", False, id="other address"),
    ],
)
def test_covers(host: str, expected: bool) -> None:
    names = ["DNS:copilot.example.com", "DNS:*.zone.example.com", "IP:2001:db8::1"]
    assert covers(names, host) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, "", id="good"),
        pytest.param({"subject_alt_name": [*NAMES, "DNS:old"]}, "", id="a name too many"),
        pytest.param({"subject_alt_name": ["DNS:localhost"]}, "lacks DNS:madrid-1, IP:127.0.0.1", id="names missing"),
        pytest.param({"subject_alt_name": None}, "lacks", id="no names"),
        pytest.param({"not_after": "20260701000000Z"}, "ends on 2026-07-01", id="ends soon"),
        pytest.param({"authority_key_identifier": "33"}, "another CA", id="other CA"),
    ],
)
def test_reissue_reason(change: dict[str, Any], expected: str) -> None:
    reason = reissue_reason({**GOOD, **change}, NAMES, True, "11:22", 90, now=NOW)
    assert bool(reason) is bool(expected)
    assert expected in reason


SERVER, BOTH = ["TLS Web Server Authentication"], ["TLS Web Server Authentication", "TLS Web Client Authentication"]


@pytest.mark.parametrize(
    ("uses", "client", "expected"),
    [
        pytest.param(SERVER, False, "", id="the only balancer"),
        pytest.param(BOTH, True, "", id="one of several"),
        pytest.param(SERVER, True, "one of several balancers now", id="one of several now"),
        pytest.param(BOTH, False, "not one of several balancers any more", id="one of several once"),
    ],
)
def test_only_of_several_balancers_a_certificate_is_for_clients(uses: list[str], client: bool, expected: str) -> None:
    reason = reissue_reason({**GOOD, "extended_key_usage": uses}, NAMES, True, "11:22", 90, client, now=NOW)
    assert bool(reason) is bool(expected)
    assert expected in reason


def test_one_without_its_key_is_issued_anew() -> None:
    assert reissue_reason(GOOD, NAMES, False, "11:22", 90, now=NOW) == "it is for another key"


def test_the_first_certificate_is_issued() -> None:
    assert reissue_reason({}, NAMES, False, "11:22", 90, now=NOW) == "there is none"


@pytest.mark.parametrize(
    ("change", "host", "expected"),
    [
        pytest.param({}, "madrid-1", "", id="good"),
        pytest.param({}, "paris-1", "clients connect to paris-1", id="other host"),
        pytest.param({"not_after": "20260101000000Z"}, "madrid-1", "ended on 2026-01-01", id="ended"),
        pytest.param({"public_key_fingerprints": {"sha256": "x"}}, "madrid-1", "tls_provided_key", id="other key"),
    ],
)
def test_provided_problems(change: dict[str, Any], host: str, expected: str) -> None:
    problems = provided_problems({**GOOD, **change}, "aa:bb", host, now=NOW)
    assert len(problems) == (1 if expected else 0)
    assert expected in "".join(problems)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param(
            "Saving debug log to /var/log/letsencrypt/letsencrypt.log\n"
            "  Domain: copilot.example.com\n  Type:   dns\n  Detail: no A record for it.\n\nSome challenges have failed.\n",
            "no A record for it.",
            id="what the server says of a domain",
        ),
        pytest.param("  Detail: no answer\n  Detail: no answer\n", "no answer.", id="the same of two domains"),
        pytest.param(
            "  Detail: http://a.example/.well-known/acme-challenge/x9_-Z refused\n",
            "http://a.example/.well-known/acme-challenge/ refused.",
            id="without what differs each time",
        ),
        pytest.param(
            "An unexpected error occurred:\nConnectionError: <Connection object at 0x7f01>: refused\nAsk for help\n",
            "ConnectionError: refused.",
            id="no server",
        ),
        pytest.param("Saving debug log to x\nThe account is unknown\n", "The account is unknown.", id="certbot's own words"),
        pytest.param("", "certbot does not say why.", id="nothing"),
    ],
)
def test_why_there_is_no_certificate(output: str, expected: str) -> None:
    assert acme_failure(output) == expected
