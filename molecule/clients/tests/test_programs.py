# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real programs, with nothing but what the operator handed over: a whole question and answer, and a refusal."""

from __future__ import annotations

import re

import pytest
from conftest import Developer, Server

# The model answers nonsense, so that the agents are held to one or two turns.
QUESTION = "Say hello."
COMMANDS = {
    "aider": f"aider --message '{QUESTION}' --yes-always --no-git --no-stream --map-tokens 0",
    "opencode": f"opencode run '{QUESTION}'",
    "cline": f"cline --json --auto-approve true -t 60 '{QUESTION}'",
    "continue": f"cn -p --silent '{QUESTION}'",
    "pi": f"pi -p --no-session --provider slm-copilot --model devstral-small-2 '{QUESTION}'",
}
AGENTS = [program for program in COMMANDS if program != "aider"]


@pytest.mark.parametrize("program", COMMANDS)
def test_a_question_is_answered(developer: Developer, one: Server, program: str) -> None:
    mark = one.mark()
    done = developer.types(program, COMMANDS[program])
    requests = one.requests_since(mark)
    assert done.returncode == 0, done.stdout[-3000:]
    assert requests, done.stdout[-3000:]
    assert any(QUESTION in str(request["messages"]) for request in requests)
    assert {request["model"] for request in requests} == {"devstral-small-2"}
    if program in AGENTS:
        assert any(len(request.get("tools", [])) >= 4 for request in requests)
        assert all(request["stream"] for request in requests)


@pytest.mark.parametrize("program", COMMANDS)
def test_a_wrong_key_is_told(developer: Developer, program: str) -> None:
    done = developer.has_a_wrong_key().types(program, COMMANDS[program])
    assert re.search(r"401|invalid.{0,10}api.{0,10}key|unauthori[sz]ed|authentication", done.stdout, re.IGNORECASE), done.stdout[
        -3000:
    ]


@pytest.mark.parametrize("program", ["continue", "pi"])
def test_a_client_certificate_is_shown(certified: Developer, mtls: Server, program: str) -> None:
    mark = mtls.mark()
    done = certified.types(program, COMMANDS[program])
    assert done.returncode == 0, done.stdout[-3000:]
    assert any(QUESTION in str(request["messages"]) for request in mtls.requests_since(mark))


@pytest.mark.parametrize("program", ["continue", "pi"])
def test_nobody_is_answered_without_a_certificate(certified: Developer, mtls: Server, program: str) -> None:
    """The same files, but for the certificate."""
    strip = "sed -i '/clientCertificate/,$d' ~/slm-copilot/continue/config.yaml; rm -rf ~/.pi/agent/extensions"
    without = certified.has_a_wrong_key()
    mark = mtls.mark()
    done = without.types(program, f"{strip}\n{COMMANDS[program]}")
    assert re.search(r"certificate|connection|fetch failed|tls|ssl", done.stdout, re.IGNORECASE), done.stdout[-3000:]
    assert mtls.requests_since(mark) == []


@pytest.mark.parametrize("who", ["developer", "certified"])
def test_python_and_curl(request: pytest.FixtureRequest, who: str) -> None:
    person: Developer = request.getfixturevalue(who)
    spoken = person.runs("/opt/clients/python/bin/python ~/slm-copilot/python/chat.py hello")
    assert spoken.returncode == 0 and spoken.stdout.strip(), spoken.stdout[-3000:]
