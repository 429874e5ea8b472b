# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a real llama-server computes again of conversations that outnumber its slots, and which of them its router sends first."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig import CHECKOUT, wait_for
from router_rig import Caller, EngineOnSocket, Router

TURNS = 6
DEFAULT = yaml.safe_load((CHECKOUT / "roles/llama_server/defaults/main.yml").read_text())["llama_server_slot_prompt_similarity"]
ENGINES_OWN = 0.1


@contextmanager
def engine_with(engine: Path, model: Path, work: Path, similarity: float) -> Iterator[EngineOnSocket]:
    """A llama-server with two slots, and a host cache that holds every conversation here."""
    options = ("--slot-prompt-similarity", str(similarity), "--cache-ram", "256")
    server = EngineOnSocket(engine, model, work, slots=2, options=options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def words(number: int, seed: str) -> str:
    """Text of some three tokens for each of so many words, other for each seed."""
    chosen = random.Random(seed)
    return " ".join(f"{chosen.choice('abcdefgh')}{chosen.randrange(100, 999)}" for _word in range(number))


def computed(caller: Caller, conversations: int) -> int:
    """Holds so many conversations in shuffled order, one request at a time; returns the tokens that were computed."""
    trunk = {"role": "system", "content": words(1000, "trunk")}
    held: list[list[dict[str, Any]]] = [[trunk] for _conversation in range(conversations)]
    order = [number for number in range(conversations) for _turn in range(TURNS)]
    random.Random(1).shuffle(order)
    total = 0
    for turn, number in enumerate(order):
        held[number].append({"role": "user", "content": words(100, f"{number} {turn}")})
        answer = caller.chat(8, messages=held[number]).json
        total += answer["timings"]["prompt_n"]
        held[number].append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
    return total


@pytest.mark.parametrize("conversations", [2, 3, 4])
def test_conversations_that_share_their_start_do_not_take_each_others_slots(
    engine: Path, model: Path, tmp_path: Path, conversations: int
) -> None:
    found = {}
    for similarity in (ENGINES_OWN, DEFAULT):
        with engine_with(engine, model, tmp_path, similarity) as server:
            found[similarity] = computed(server.direct, conversations)
    assert found[DEFAULT] < (0.95 if conversations == 2 else 0.8) * found[ENGINES_OWN], found


def test_a_conversation_goes_on_before_a_long_new_prompt(engine: Path, model: Path, router_venv: Path, tmp_path: Path) -> None:
    """There is one slot, and the new prompt came first. The server stands alone: it has no key of a fleet."""
    llama = EngineOnSocket(engine, model, tmp_path, slots=1, options=("--cache-ram", "256"))
    router = Router(router_venv, llama, tmp_path, models={"tiny": 1})
    order: list[str] = []

    def ask(name: str, messages: list[dict[str, Any]]) -> None:
        body = {"model": "tiny", "messages": messages, "max_tokens": 2}
        router.developer.request("POST", "/v1/chat/completions", body, **{"X-Copilot-User": name})
        order.append(name)

    try:
        llama.start()
        router.start()
        router.wait_state(health="ready")
        history = [{"role": "user", "content": words(700, "old")}]
        said = router.developer.chat(4, messages=history).json["choices"][0]["message"]["content"]
        history += [{"role": "assistant", "content": said}, {"role": "user", "content": "Go on."}]
        with ThreadPoolExecutor(2) as pool:
            running = router.developer.begin(1500, stream=True)
            wait_for("it runs", lambda: router.state["busy"] == {"tiny": 1})
            pool.submit(ask, "bob", [{"role": "user", "content": words(3000, "new")}])
            wait_for("the new prompt waits", lambda: router.state["queued"] == {"tiny": 1})
            pool.submit(ask, "carol", history)
            wait_for("both wait", lambda: router.state["queued"] == {"tiny": 2})
            running.rest()
        assert order == ["carol", "bob"]
    finally:
        router.stop()
        llama.kill()
