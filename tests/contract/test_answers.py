# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers that make sense, through the whole service: a real model, small as it is, behind a real llama-server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT
from rig import Answer, Llama, Member, Service

CAPITAL = "What is the capital of France? Answer with one word."
CITY = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"capital": {"type": "string"}, "inhabitants": {"type": "integer"}},
            "required": ["capital", "inhabitants"],
            "additionalProperties": False,
        },
    },
}
Turn = dict[str, str]


@pytest.fixture(scope="module")
def smollm2(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    work = tmp_path_factory.mktemp("smollm2")
    model = work / "smollm2.gguf"
    subprocess.run([CHECKOUT / "tools/test-model", model, "smollm2"], check=True)
    server = Llama(engine, model, work, alias="smollm2")
    server.start()
    server.wait_ready()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def fleet(running: Service, smollm2: Llama) -> Service:
    """The service with this one model."""
    running.wait_pool(Member("smollm2", smollm2.port, models={"smollm2": "smollm2"}))
    return running


def user(text: str) -> Turn:
    return {"role": "user", "content": text}


def chat(fleet: Service, *turns: Turn, **more: Any) -> Answer:
    """Returns the likeliest answer to these turns."""
    answer = fleet.chat(60, model="smollm2", messages=turns, temperature=0, ignore_eos=False, **more)
    assert answer.status == 200, answer.text
    return answer


def asked(fleet: Service, *turns: Turn, **more: Any) -> dict[str, Any]:
    """Returns the one choice of an answer."""
    (choice,) = chat(fleet, *turns, **more).json["choices"]
    return dict(choice)


def said(fleet: Service, *turns: Turn, **more: Any) -> str:
    return str(asked(fleet, *turns, **more)["message"]["content"])


def streamed(fleet: Service, *turns: Turn, **more: Any) -> list[str]:
    """Returns the pieces of an answer as they came."""
    *events, last = chat(fleet, *turns, stream=True, **more).events
    assert last == "[DONE]"
    pieces = [choice["delta"].get("content") for event in events for choice in json.loads(event)["choices"]]
    return [piece for piece in pieces if piece]


def test_it_knows_the_capital_of_france(fleet: Service) -> None:
    choice = asked(fleet, user(CAPITAL))
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_a_stream_says_the_same(fleet: Service) -> None:
    pieces = streamed(fleet, user(CAPITAL))
    assert len(pieces) > 3, "it comes piece by piece"
    assert "".join(pieces) == said(fleet, user(CAPITAL))


def test_what_was_said_in_an_earlier_turn_is_known(fleet: Service) -> None:
    question = user("What is my dog called?")
    turns = [user("My dog is called Rex."), {"role": "assistant", "content": "What a good name."}, question]
    assert "Rex" in said(fleet, *turns)
    assert "Rex" not in said(fleet, question), "else it proves nothing"


def test_the_system_prompt_counts(fleet: Service) -> None:
    question = user("What is the secret word?")
    assert "banana" in said(fleet, {"role": "system", "content": "The secret word is banana."}, question)
    assert "banana" not in said(fleet, question), "else it proves nothing"


def test_a_stop_sequence_ends_the_answer(fleet: Service) -> None:
    question = user("Count from 1 to 10, separated by commas.")
    whole = said(fleet, question)
    assert "5, 6" in whole
    choice = asked(fleet, question, stop=["5"])
    assert choice["message"]["content"].rstrip() == whole.partition("5")[0].rstrip()
    assert choice["finish_reason"] == "stop"


def test_an_answer_of_so_many_tokens_is_the_beginning_of_the_whole(fleet: Service) -> None:
    question = user("Count from 1 to 10, separated by commas.")
    choice = asked(fleet, question, max_tokens=7)
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] and said(fleet, question).startswith(choice["message"]["content"])


def test_json_is_of_the_schema(fleet: Service) -> None:
    question = user("What is the capital of France, and how many people live there?")
    text = said(fleet, question, response_format=CITY)
    city = json.loads(text)
    assert set(city) == {"capital", "inhabitants"}
    assert city["capital"] == "Paris"
    assert isinstance(city["inhabitants"], int)
    assert "".join(streamed(fleet, question, response_format=CITY)) == text
