# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Limits hold for one developer, and leave the others alone. Their figures are in converge.yml."""

from __future__ import annotations

import time
from collections.abc import Callable

from conftest import Client, busy_slots
from developers import eventually
from testinfra.host import Host

REQUESTS = 40  # in ten seconds
CONCURRENT = 6


def test_too_many_requests(alice: Client, bob: Client) -> None:
    answers = alice.models_often(REQUESTS + 5)
    assert [answer.status for answer in answers] == [200] * REQUESTS + [429] * 5
    assert answers[-1].error["code"] == "rate_limit_exceeded"
    assert bob.models().status == 200, "another key goes through"
    assert alice.request("POST", "/v1/completions", b"x" * 1000000).status == 429, "and is not cut off while it sends"
    time.sleep(int(answers[-1].headers["Retry-After"]))
    assert alice.models().status == 200, "Retry-After is long enough"


def test_too_many_at_once(alice: Client, bob: Client, server: Host) -> None:
    time.sleep(11)  # the requests of the test before are forgotten
    asked = [alice.ask(20000), alice.ask(20000)]
    eventually(lambda: busy_slots(server, bob.key) == 2, "both slots are busy")
    # Those that wait ask for little: llama-server may answer them although their clients have left.
    asked += [alice.ask(5) for _round in range(CONCURRENT - 2)]
    time.sleep(2)  # else the last of them may be the one that is over the limit
    refused = alice.models()
    assert refused.status == 429
    assert "at once" in refused.error["message"]
    assert int(refused.headers["Retry-After"]) > 0
    assert bob.models().status == 200, "another key goes through"
    for connection in asked:
        connection.close()
    # Refused ones count as well: asked more often, it would be too often.
    eventually(lambda: alice.models().status == 200, "the clients that left are forgotten", every=1)
    eventually(lambda: busy_slots(server, bob.key) == 0, "their slots are free", every=2)


def test_limits_of_an_address(alice: Client, bob: Client, team: Client, server: Host, converge: Callable[..., str]) -> None:
    """They hold for all that comes from there, with whatever key."""
    recap = converge(gateway_address_requests=10, gateway_address_concurrent=3, gateway_key_requests=0, gateway_key_concurrent=0)
    assert "failed=0" in recap, recap
    try:
        asked = [alice.ask(20000), bob.ask(20000)]
        eventually(lambda: busy_slots(server, team.key) == 2, "both slots are busy")
        asked.append(team.ask(5))  # and waits
        time.sleep(2)  # else it may be the one that is over the limit
        refused = bob.models()
        assert refused.status == 429
        assert "at once with this address" in refused.error["message"]
        for connection in asked:
            connection.close()
        eventually(lambda: bob.models().status == 200, "the clients that left are forgotten", every=2)

        time.sleep(21)  # and so are their requests: HAProxy looks at the ten seconds before, too
        answers = alice.models_often(6) + bob.models_often(6)
        assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
        assert "Too many requests with this address" in answers[-1].error["message"]
        assert int(answers[-1].headers["Retry-After"]) > 0
    finally:
        assert "failed=0" in converge()
