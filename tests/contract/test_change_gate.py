# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host asks llama-server after a change, of a real one: the same model in other ways, and one whose numbers are wrong."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT
from router_rig import EngineOnSocket

SPECIFICATION = importlib.util.spec_from_file_location("engine_switch", CHECKOUT / "roles/llama_server/files/engine_switch.py")
assert SPECIFICATION and SPECIFICATION.loader
engine_switch = sys.modules["engine_switch"] = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(engine_switch)

# A template by which a demanded call is the first that may be said, and what ends the call as soon as the grammar lets it.
CALLS, ENDS_SOON = "CohereForAI-c4ai-command-r-plus-tool_use", ("--seed", "1", "--logit-bias", "128001+100")
# As when a kernel computes wrongly.
NONSENSE = ("--override-kv", "llama.attention.layer_norm_rms_epsilon=float:10000")


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("smollm2") / "smollm2.gguf"
    subprocess.run([CHECKOUT / "tools/test-model", file, "smollm2"], check=True)
    return file


@pytest.fixture
def serving(engine: Path, tmp_path: Path) -> Callable[..., Any]:
    @contextmanager
    def started(model: Path, *options: str) -> Any:
        server = EngineOnSocket(engine, model, tmp_path, context=4096, options=options)
        server.start()
        yield engine_switch.Engine(str(server.socket))
        server.kill()

    return started


def test_the_same_model_goes_through_and_nonsense_does_not(serving: Any, smollm2: Path) -> None:
    with serving(smollm2) as server:
        before = engine_switch.shown(server)
    assert {"answers", "streams"} <= before.able
    assert len(before.likely) == engine_switch.LIKELY
    assert all(before.speed[name] > 0 for name in engine_switch.SPEEDS)
    with serving(smollm2, "--cache-type-k", "q4_0", "--cache-type-v", "q4_0", "--flash-attn", "on", "--threads", "1") as server:
        engine_switch.answers_as_before(server, before)
    with serving(smollm2, *NONSENSE) as server, pytest.raises(engine_switch.NotWell, match="its answers make no sense"):
        engine_switch.answers_as_before(server, before)


def test_what_calls_tools_must_go_on_to(serving: Any, model: Path, templates: Path) -> None:
    with serving(model, "--jinja", "--chat-template-file", str(templates / f"{CALLS}.jinja"), *ENDS_SOON) as server:
        before = engine_switch.shown(server)
    assert before.able == {"answers", "streams", "calls tools"}
    with serving(model, "--no-jinja") as server, pytest.raises(engine_switch.NotWell, match="no longer calls tools$"):
        engine_switch.answers_as_before(server, before)
