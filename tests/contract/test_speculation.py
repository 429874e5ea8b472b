# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a real model answers while llama-server guesses its tokens, against what it answers without."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import DRAFT_MODEL, USUAL_SPECULATION
from rig import CHECKOUT
from router_rig import EngineOnSocket

# What a token may be likelier by than the next one where answers part, as a difference of logarithms. Batches of other sizes are
# rounded in another way: without guesses, too, such a difference moves when the model gets the same text as a prompt.
NEAR_TIE = 0.5
# Long enough that much of it is guessed, and the model too small to write it without a fault: some guesses are wrong.
CODE = """\
import json
from pathlib import Path


def read_orders(path: Path) -> list[dict]:
    \"\"\"Returns the orders of a file, one in each line.\"\"\"
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def total(orders: list[dict], tax: float) -> float:
    \"\"\"Returns what they cost together.\"\"\"
    result = 0.0
    for order in orders:
        result += order["price"] * order["count"]
    return round(result * (1 + tax), 2)


def write_report(orders: list[dict], path: Path) -> None:
    \"\"\"Writes a line for each customer.\"\"\"
    customers = sorted({order["customer"] for order in orders})
    path.write_text("".join(f"{name}\\n" for name in customers), encoding="utf-8")
"""
EDIT = [{"role": "user", "content": f"Write this file again, whole, and change nothing:\n\n```python\n{CODE}```"}]
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}
CALL = {"type": "function", "function": {"name": "write_file", "description": "Writes a file.", "parameters": PERSON}}
ASKED: dict[str, dict[str, Any]] = {
    "an edit": {"temperature": 0, "max_tokens": 130},
    "an edit with a seed": {"temperature": 0.7, "seed": 5, "max_tokens": 60},
    "a schema": {
        "temperature": 0,
        "max_tokens": 40,
        "response_format": {"type": "json_schema", "json_schema": {"schema": PERSON}},
    },
    "a tool call": {"temperature": 0, "max_tokens": 40, "tools": [CALL], "tool_choice": "required"},
}


@pytest.fixture(scope="module")
def real_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "smollm2.gguf"
    subprocess.run([CHECKOUT / "tools/test-model", file, "smollm2"], check=True)
    return file


# The cache's type, and what guesses: text that was seen before, and a model. The best draft model is the model itself.
@pytest.fixture(
    scope="module",
    params=[("f16", USUAL_SPECULATION), ("q8_0", USUAL_SPECULATION), ("f16", f"{USUAL_SPECULATION},{DRAFT_MODEL}")],
    ids="-".join,
)
def sides(
    request: pytest.FixtureRequest, engine: Path, real_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[EngineOnSocket]]:
    """A server that guesses as hosts do, and one that does not. Each has two slots, and caches of one type."""
    cache, speculation = request.param
    types = ("--jinja", "--cache-type-k", cache, "--cache-type-v", cache)
    draft = ("--model-draft", str(real_model)) if DRAFT_MODEL in speculation else ()
    servers = [
        EngineOnSocket(engine, real_model, tmp_path_factory.mktemp("side"), context=2048, options=(*types, *options))
        for options in (("--spec-type", speculation, *draft), ())
    ]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


def first_difference(guessing: dict[str, Any], plain: dict[str, Any]) -> float:
    """Returns how much likelier the plain answer's token was than the next one where the answers part; 0 where they do not."""
    said, expected = (one["choices"][0]["logprobs"]["content"] for one in (guessing, plain))
    for one, other in zip(said, expected):
        if one["id"] != other["id"]:
            best, second = (token["logprob"] for token in other["top_logprobs"][:2])
            return float(best - second)
    assert len(said) == len(expected)
    return 0.0


@pytest.mark.parametrize("asked", ASKED)
def test_answers_are_the_same(sides: list[EngineOnSocket], asked: str) -> None:
    more = {"messages": EDIT, "logprobs": True, "top_logprobs": 2, "ignore_eos": False, **ASKED[asked]}
    guessing, plain = (server.direct.chat(**more).json for server in sides)
    assert first_difference(guessing, plain) <= NEAR_TIE
    assert "draft_n" not in plain["timings"]
    if asked == "an edit":
        assert 0 < guessing["timings"]["draft_n_accepted"] < guessing["timings"]["draft_n"]


def test_answers_in_two_slots_are_the_same(sides: list[EngineOnSocket]) -> None:
    guessing, plain = sides
    asked = {"messages": EDIT, "temperature": 0, "max_tokens": 110, "logprobs": True, "top_logprobs": 2, "ignore_eos": False}
    expected = plain.direct.chat(**asked).json
    found: list[dict[str, Any]] = []
    callers = [threading.Thread(target=lambda: found.append(guessing.direct.chat(**asked).json)) for _caller in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [first_difference(one, expected) <= NEAR_TIE for one in found] == [True, True]
    assert all(one["timings"]["draft_n_accepted"] for one in found)
