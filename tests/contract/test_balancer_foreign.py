# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A balancer before engines outside the fleet, which have no router of ours: a llama-server with a strict chat template."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT
from rig import FaultProxy, Llama, Member, Service, wait_for

sys.path[:0] = [str(CHECKOUT / "tests/unit/router")]

from agent_histories import HISTORIES, body, user

STRICT = "mistralai-Ministral-3-14B-Reasoning-2512"  # the nearest to that of the default model
USERS = [user(), user("Please.")]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.fixture(scope="module")
def doors(engine: Path, model: Path, templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[FaultProxy]]:
    """Two ways to the same engine."""
    work = tmp_path_factory.mktemp("strict")
    server = Llama(engine, model, work)
    server._command += ["--jinja", "--chat-template-file", str(templates / f"{STRICT}.jinja")]
    server.start()
    server.wait_ready()
    doors = [FaultProxy(server.port) for _door in range(2)]
    yield doors
    for door in doors:
        door.close()
    server.kill()


@pytest.fixture(scope="module")
def strangers(running: Service, doors: list[FaultProxy]) -> Service:
    """The service with two strangers."""
    running.wait_pool(*(Member(name, door.port, foreign=True) for name, door in zip("xy", doors, strict=True)))
    return running


@pytest.fixture(autouse=True)
def nothing_asked_yet(doors: list[FaultProxy]) -> None:
    for door in doors:
        door.heal()


def asked(doors: list[FaultProxy]) -> list[dict[str, Any]]:
    return [one for door in doors for one in door.bodies]


def chat(service: Service, messages: Any, **more: Any) -> Any:
    return service.request("POST", "/v1/chat/completions", {**body(messages), "max_tokens": 1, **more})


def test_every_history_is_answered_and_it_is_told_what_was_done(strangers: Service, doors: list[FaultProxy]) -> None:
    done = {}
    for name, messages in HISTORIES.items():
        answer = chat(strangers, messages)
        assert answer.status == 200, (name, answer.text)
        done[name] = answer.headers.get("x-copilot-history", "")
    assert len(asked(doors)) == len(HISTORIES)
    assert sum(map(bool, done.values())) > 15, done


def test_what_its_template_takes_stays_as_it_is(strangers: Service, doors: list[FaultProxy]) -> None:
    given = json.dumps({"model": "tiny", **body([user()]), "max_tokens": 1}, indent=1).encode()
    answer = strangers.request("POST", "/v1/chat/completions", given)
    assert (answer.status, "x-copilot-history" in answer.headers) == (200, False)
    assert given in [one for door in doors for one in door.raw]


def test_a_stream_says_it_too(strangers: Service) -> None:
    answer = chat(strangers, USERS, stream=True)
    assert (answer.events[-1], bool(answer.headers["x-copilot-history"])) == ("[DONE]", True)


def test_so_is_a_response(strangers: Service) -> None:
    asked = {"model": "tiny", "input": USERS, "max_output_tokens": 1}
    answer = strangers.request("POST", "/v1/responses", asked)
    assert (answer.status, answer.headers["x-copilot-history"]) == (200, "merged-users"), answer.text


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        pytest.param([{"role": "user", "content": [PICTURE]}], "input_not_supported", id="a picture without eyes"),
        pytest.param([], "invalid_history", id="no message"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_made_right_is_refused_once(
    strangers: Service, doors: list[FaultProxy], messages: Any, code: str, stream: bool
) -> None:
    answer = chat(strangers, messages, stream=stream)
    assert (answer.status, answer.error["code"]) == (400, code)
    assert len(asked(doors)) <= 1
    strangers.settle("x", "y")


def test_it_can_be_turned_off(running: Service, doors: list[FaultProxy]) -> None:
    running.wait_pool(Member("x", doors[0].port, foreign=True), histories=False)
    answer = chat(running, USERS)
    assert (answer.status, answer.error["code"]) == (400, "template_refused")
    assert [one["messages"] for one in asked(doors)] == [USERS]


def test_a_server_of_the_fleet_gets_the_history_as_it_was_sent(running: Service, doors: list[FaultProxy]) -> None:
    running.wait_pool(Member("ours", doors[0].port))
    assert chat(running, USERS).status >= 400, "it has a router for that"
    assert [one["messages"] for one in asked(doors)] == [USERS]


def test_an_engine_that_cannot_be_asked_for_its_template_is_asked_as_the_client_did(
    running: Service, doors: list[FaultProxy]
) -> None:
    doors[0].foreign = True  # it has nothing but what is below /v1
    running.wait_pool(Member("other", doors[0].port, foreign=True))
    wait_for("it is known", lambda: "histories for tiny are not rewritten" in running.log)
    assert chat(running, [user()]).status == 200
    assert [one["messages"] for one in asked(doors)] == [[user()]]
