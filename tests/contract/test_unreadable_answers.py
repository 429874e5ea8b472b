# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a model says that is not in the form of its chat template: llama-server cannot read it, which is no fault of a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Member, Service, wait_for
from router_rig import EngineOnSocket, Router, serving

TEMPLATE = "openai-gpt-oss-120b"  # whose form random weights do not keep to
TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def server(
    engine: Path, model: Path, router_venv: Path, templates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Router]:
    work = tmp_path_factory.mktemp("babbling")
    options = ["--jinja", "--chat-template-file", str(templates / f"{TEMPLATE}.jinja")]
    llama = EngineOnSocket(engine, model, work, options=options)
    router = Router(router_venv, llama, work)
    with serving(llama, router):
        yield router


def wait_served(balancer: Service, number: int) -> None:
    """Waits until so many requests counted as served, at all servers together."""
    wait_for(f"{number} are served", lambda: sum(int(one["served"]) for one in balancer.state.values()) == number)


@pytest.mark.parametrize("stream", [False, True])
def test_it_is_told_and_nobody_else_is_asked(running: Service, server: Router, stream: bool) -> None:
    both = [Member(name, 9, socket=str(server.socket), slots=2) for name in ("a", "b")]
    running.wait_pool(*both)
    for number in range(1, 4):  # two failures in a row would take one out
        answer = running.chat(20, tools=[TOOL], ignore_eos=False, stream=stream)
        assert "unreadable_answer" in answer.text and "try again" in answer.text, answer.text
        assert answer.status == (200 if stream else 500)
        wait_served(running, number)
        for name in ("a", "b"):
            running.wait_state(name, in_flight=0, failures=0, state="closed")
