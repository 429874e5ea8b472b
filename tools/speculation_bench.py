# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measures what guessed tokens are worth to an agent: a real llama-server with a small real model, with guesses and without."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "tests/contract")]

from ansible_collections.slm.copilot.plugins.module_utils._model.settings import USUAL_SPECULATION
from bench_sides import Row, ratios, servers
from router_rig import EngineOnSocket

THREADS = 2
COMMON = PROJECT / "plugins/module_utils/_common"
# Others in each round: what was answered once is guessed well.
FILES = ["\n".join((COMMON / name).read_text().splitlines()[3:40]) for name in ("lock.py", "urls.py", "progress.py")]
QUESTIONS = ("how a hash table works", "what a compiler does with a loop", "why programs wait for disks")
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}
CALL = {"type": "function", "function": {"name": "add_person", "description": "Adds a person.", "parameters": PERSON}}


def question(text: str, tokens: int, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0, "ignore_eos": False, **more}


def asked(number: int) -> dict[str, dict[str, Any]]:
    """Returns what is asked in a round."""
    dice = random.Random(number)
    words = " ".join(f"{dice.choice('abcdefgh')}{dice.randrange(10, 99)}" for _word in range(300))
    text = FILES[number % len(FILES)]
    return {
        "a file written again": question(f"Write this file again, whole, and change nothing:\n\n```python\n{text}\n```", 220),
        "prose": question(f"Explain in detail {QUESTIONS[number % len(QUESTIONS)]}.", 100),
        "a tool call": question(f"Add Ada, who is {30 + number}.", 60, tools=[CALL], tool_choice="required"),
        "a cold prompt": question(words, 1),
    }


def speeds(server: EngineOnSocket, number: int) -> dict[str, float]:
    """Returns tokens a second of each: of the answer, or of the prompt where that is all."""
    found = {}
    for name, body in asked(number).items():
        times = server.direct.request("POST", "/v1/chat/completions", body).json["timings"]
        found[name] = times["prompt_per_second" if name == "a cold prompt" else "predicted_per_second"]
    return found


@contextmanager
def sides(engine: Path, model: Path) -> Iterator[dict[str, Callable[[], dict[str, float]]]]:
    """Yields what measures a server that guesses, and one that does not."""
    threads = ("--threads", str(THREADS))
    options = {"guesses": ("--spec-type", USUAL_SPECULATION, *threads), "plain": threads}
    with servers(engine, model, options, context=4096) as running:
        rounds = {name: itertools.count() for name in running}
        yield {name: partial(_next, server, rounds[name]) for name, server in running.items()}


def _next(server: EngineOnSocket, rounds: Iterator[int]) -> dict[str, float]:
    return speeds(server, next(rounds))


def rows(found: dict[str, dict[str, float]]) -> list[Row]:
    """Returns the ratios of medians."""
    what = {name: f"{name}, speculation against none" for name in found["plain"]}
    return ratios(what, found["guesses"], found["plain"], "{:.1f} against {:.1f} tokens/s")
