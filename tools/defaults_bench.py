# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares the settings of llama-server with llama.cpp's own: an agent's work, and conversations that share two slots."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "tests/contract")]

from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import Agent, Ask
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import USUAL_SPECULATION
from bench_sides import Row, ratios, servers
from router_rig import EngineOnSocket
from test_warm import computed

SLOTS, CONTEXT, CACHE_MIB = 2, 16384, 1024
PROMPT, EDIT = 1024, 192  # tokens
CONVERSATIONS = (2, 4)
STEP = 1000  # between the texts of two rounds
ROLE = yaml.safe_load((PROJECT / "roles/llama_server/defaults/main.yml").read_text())
SETTINGS = {
    "ours": (
        *("--slot-prompt-similarity", str(ROLE["llama_server_slot_prompt_similarity"]), "--cache-ram", str(CACHE_MIB)),
        *("--batch-size", str(ROLE["llama_server_batch_size"]), "--spec-type", USUAL_SPECULATION),
    ),
    "llama.cpp's": (),
}


def asks(server: EngineOnSocket) -> Ask:
    """Returns what sends a request to a server, and returns its timings."""

    def ask(body: Mapping[str, Any]) -> Mapping[str, float]:
        return dict(server.direct.request("POST", "/v1/chat/completions", dict(body)).json["timings"])

    return ask


def once(server: EngineOnSocket, rounds: Iterator[int]) -> dict[str, float]:
    """Returns the seconds of each kind of work."""
    number = next(rounds) * STEP
    return {name: work(asks(server), number + 10 * place) for place, (name, (work, _often)) in enumerate(agent().works().items())}


def agent() -> Agent:
    return Agent(PROMPT, EDIT, SLOTS)


@contextmanager
def sides(engine: Path, model: Path) -> Iterator[dict[str, Callable[[], dict[str, float]]]]:
    """Yields what measures a server with the collection's settings, and one with llama.cpp's own."""
    with servers(engine, model, SETTINGS, slots=SLOTS, context=CONTEXT) as running:
        for server in running.values():
            once(server, itertools.repeat(99))  # what is first used is read from the disk
        yield {name: partial(once, server, itertools.count(1)) for name, server in running.items()}


def tokens(engine: Path, model: Path) -> dict[str, dict[str, float]]:
    """Returns the computed prompt tokens by settings and number of conversations."""
    found: dict[str, dict[str, float]] = {name: {} for name in SETTINGS}
    for conversations in CONVERSATIONS:
        with servers(engine, model, SETTINGS, slots=SLOTS, context=CONTEXT) as running:
            for name, server in running.items():
                found[name][str(conversations)] = computed(server.direct, conversations)
    return found


def rows(model: str, found: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Returns how many times faster an agent's work is: seconds of llama.cpp's own settings over ours."""
    what = {name: f"{model}: {name}, seconds of llama.cpp's own settings against ours" for name in found["ours"]}
    return ratios(what, found["llama.cpp's"], found["ours"], "{:.2f} against {:.2f} s")


def token_rows(found: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Returns how many times fewer tokens are computed."""
    compared = f"conversations on {SLOTS} slots, tokens of llama.cpp's own settings against ours"
    what = {name: f"{name} {compared}" for name in found["ours"]}
    return ratios(what, found["llama.cpp's"], found["ours"], "{:.0f} against {:.0f}")
