# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Limits hold for one developer, or for one address, and leave the others alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_rig import Developer, Gateway
from metrics_rig import Samples
from rig import Llama, wait_for
from test_gateway_surface import LIMIT

KEY_REQUESTS, ADDRESS_REQUESTS = 8, 10  # in the window
KEY_CONCURRENT, ADDRESS_CONCURRENT = 3, 5


@pytest.fixture(scope="module")
def limited(upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(
        tmp_path_factory.mktemp("limited"),
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{upstream.port}",
        gateway_rate_window=2,
        gateway_key_requests=KEY_REQUESTS,
        gateway_key_concurrent=KEY_CONCURRENT,
        gateway_address_requests=ADDRESS_REQUESTS,
        gateway_address_concurrent=ADDRESS_CONCURRENT,
    )
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(limited: Gateway) -> Gateway:
    return limited


def test_too_many_requests(alice: Developer, bob: Developer) -> None:
    answers = alice.models_often(KEY_REQUESTS + 5)
    assert [answer.status for answer in answers] == [200] * KEY_REQUESTS + [429] * 5
    assert answers[-1].error["code"] == "rate_limit_exceeded"
    assert "Too many requests with this key" in answers[-1].error["message"]
    assert bob.models().status == 200, "another key goes through"
    assert alice.request("POST", "/v1/completions", b"x" * 1000000).status == 429, "and is not cut off while it sends"
    time.sleep(int(answers[-1].headers["retry-after"]))
    assert alice.models().status == 200, "Retry-After is long enough"


def test_too_many_at_once(gateway: Gateway, upstream: Llama, alice: Developer, bob: Developer) -> None:
    asked = [alice.ask(20000), alice.ask(20000)]
    wait_for("both slots are busy", lambda: upstream.busy == 2)
    # Who waits asks for little: llama-server may answer although the client has left.
    asked += [alice.ask(5) for _round in range(KEY_CONCURRENT - 2)]
    wait_for("all count", lambda: gateway.passed_on() == KEY_CONCURRENT)
    refused = alice.models()
    assert refused.status == 429
    assert "at once with this key" in refused.error["message"]
    assert int(refused.headers["retry-after"]) > 0
    assert bob.models().status == 200, "another key goes through"
    for stream in asked:
        stream.leave()
    wait_for("the clients that left are forgotten", lambda: alice.models().status == 200)
    upstream.wait_idle()


def test_too_many_at_once_from_an_address(gateway: Gateway, upstream: Llama, alice: Developer, bob: Developer) -> None:
    """Limits of an address hold for all that comes from there, with whatever key."""
    bob = replace(bob, address=alice.address)
    asked = [alice.ask(20000), bob.ask(20000)]
    wait_for("both slots are busy", lambda: upstream.busy == 2)
    asked += [alice.ask(5), bob.ask(5), replace(gateway.developer(), address=alice.address).ask(5)]
    wait_for("all count", lambda: gateway.passed_on() == ADDRESS_CONCURRENT)
    refused = bob.models()
    assert refused.status == 429
    assert "at once with this address" in refused.error["message"]
    assert replace(bob, address="127.0.0.1").models().status == 200, "from another address it goes through"
    for stream in asked:
        stream.leave()
    wait_for("the clients that left are forgotten", lambda: bob.models().status == 200)
    upstream.wait_idle()


def test_too_many_requests_of_an_address(alice: Developer, bob: Developer) -> None:
    bob = replace(bob, address=alice.address)
    answers = alice.models_often(6) + bob.models_often(6)
    assert [answer.status for answer in answers] == [200] * ADDRESS_REQUESTS + [429] * 2
    assert "Too many requests with this address" in answers[-1].error["message"]
    assert int(answers[-1].headers["retry-after"]) > 0


def refused(gateway: Gateway) -> dict[str, float]:
    """How many were refused, by the proxy that said so."""
    names = ("unauthorized", "too_large", "limited_key", "limited_key_at_once", "limited_address", "limited_address_at_once")
    seen = Samples(gateway.metrics())
    return {name: seen.sum("haproxy_backend_http_responses_total", proxy=name, code="4xx") for name in names}


def test_each_kind_of_refusal_is_counted(gateway: Gateway, alice: Developer, bob: Developer, nobody: Developer) -> None:
    before = refused(gateway)
    assert [nobody.models().status for _request in range(3)] == [401] * 3
    assert [bob.request("POST", "/v1/chat/completions", b"x" * (LIMIT + 1)).status for _request in range(2)] == [413] * 2
    assert [one.status for one in alice.models_often(KEY_REQUESTS + 2)] == [200] * KEY_REQUESTS + [429] * 2
    after = refused(gateway)
    found = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert found == {"unauthorized": 3, "too_large": 2, "limited_key": 2}


def test_a_limit_of_an_address_is_counted_apart(gateway: Gateway, nobody: Developer) -> None:
    before = refused(gateway)
    assert [one.status for one in nobody.models_often(ADDRESS_REQUESTS + 3)] == [401] * ADDRESS_REQUESTS + [429] * 3
    after = refused(gateway)
    found = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert found == {"unauthorized": ADDRESS_REQUESTS, "limited_address": 3}
