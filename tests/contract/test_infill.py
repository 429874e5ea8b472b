# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Completion as you type, at a server and through a balancer, by a model that can fill in the middle."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT
from rig import Answer, Member, Service
from router_rig import EngineOnSocket, Router, serving

Ask = Callable[..., Answer]
# As llama.vscode and llama.vim ask.
MIDDLE = {"input_prefix": "def f(a):\n", "input_suffix": "    return a\n", "prompt": "    a = ", "n_predict": 8, "temperature": 0}


@pytest.fixture(scope="module")
def server(engine: Path, router_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    work = tmp_path_factory.mktemp("fim")
    subprocess.run([CHECKOUT / "tools/test-model", work / "fim.gguf", "fim"], check=True)
    llama = EngineOnSocket(engine, work / "fim.gguf", work)
    router = Router(router_venv, llama, work)
    with serving(llama, router):
        yield router


@pytest.fixture(params=["direct", "through a balancer"])
def ask(request: pytest.FixtureRequest, server: Router, running: Service) -> Ask:
    if request.param == "direct":
        return server.developer.request
    running.wait_pool(Member("server", 9, socket=str(server.socket)))
    return running.request


def middle(ask: Ask, **more: Any) -> dict[str, Any]:
    answer = ask("POST", "/infill", {"model": "tiny", **MIDDLE, **more})
    assert answer.status == 200, answer.text
    return dict(answer.json)


def test_the_middle_is_written_by_what_is_before_and_after_it(ask: Ask) -> None:
    found = middle(ask)
    assert found["content"]
    assert found["tokens_evaluated"] > middle(ask, input_suffix="")["tokens_evaluated"], "what is after it counts"
    more = middle(ask, input_extra=[{"filename": "b.py", "text": "def g(b):\n    return b\n"}])
    assert more["tokens_evaluated"] > found["tokens_evaluated"], "so do other files"


def test_it_comes_as_a_stream_too(ask: Ask) -> None:
    whole = middle(ask, cache_prompt=False)["content"]
    answer = ask("POST", "/infill", {"model": "tiny", **MIDDLE, "cache_prompt": False, "stream": True})
    pieces = [json.loads(event) for event in answer.events if event != "[DONE]"]
    assert "".join(piece["content"] for piece in pieces) == whole
