# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real programs, with nothing but what the operator handed over: a whole question and answer, and a refusal."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from conftest import Developer, Server

COMMANDS = {
    "aider": "aider --message '{question}' --yes-always --no-git --map-tokens 0",
    "opencode": "opencode run '{question}'",
    "cline": "cline --json --auto-approve true -t 60 '{question}'",
    "continue": "cn -p --silent '{question}'",
    "pi": "pi -p --no-session --provider slm-copilot --model devstral-small-2 '{question}'",
    "codex": "codex exec --skip-git-repo-check '{question}'",
}
TOOLS = re.compile(r"<tools>\n(.*?)\n</tools>", re.DOTALL)


CLAUDE = """
import sys
from anthropic import Anthropic, AuthenticationError

client = Anthropic(max_retries=0)  # which reads the environment that is for Claude Code
schema = {"type": "object", "properties": {"path": {"type": "string"}}}
tool = {"name": "read", "description": "Reads a file.", "input_schema": schema}
asked = {
    "model": sys.argv[1],
    "system": [{"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}],
    "tools": [tool],
    "messages": [{"role": "user", "content": [{"type": "text", "text": sys.argv[2], "cache_control": {"type": "ephemeral"}}]}],
}
try:
    print("tokens:", client.messages.count_tokens(**asked).input_tokens)
    with client.messages.stream(max_tokens=20, metadata={"user_id": "alice"}, **asked) as stream:
        message = stream.get_final_message()
    whole = client.messages.create(max_tokens=20, **asked)
    print("stopped:", message.stop_reason, message.usage.output_tokens, whole.stop_reason)
except AuthenticationError as error:
    print("refused:", error.status_code)
"""


def question_of(program: str, why: str) -> tuple[str, str]:
    """A question that nobody else asks, and the command that asks it."""
    question = f"Say hello to {program}, {why}."
    return question, COMMANDS[program].format(question=question)


def tools_in(prompt: str) -> list[str]:
    """Names of the tools that a prompt offers, as the template writes them; pi has a list of the same form in words, too."""
    offered = [line for block in TOOLS.findall(prompt) for line in block.splitlines() if line.startswith("{")]
    return [json.loads(tool)["function"]["name"] for tool in offered]


@pytest.mark.parametrize("program", COMMANDS)
def test_a_question_is_answered(developer: Developer, one: Server, program: str) -> None:
    question, command = question_of(program, "once")
    done = developer.types(program, command)
    assert done.returncode == 0, done.stdout[-3000:]
    asked = one.asked(question)
    if program != "aider":  # which has no tools, but its own way to write changes
        asked = [request for request in asked if tools_in(request.prompt)]  # OpenCode asks for a title, too, without tools
        assert all(len(tools_in(request.prompt)) >= 4 for request in asked)
    assert asked, done.stdout[-3000:]
    assert all(request.stream for request in asked)


def test_the_files_for_clines_editor_are_understood(developer: Developer, one: Server) -> None:
    """By the command line, which takes over what the editor's extension keeps, when it has no settings of its own."""
    question, command = question_of("cline", "as the editor would")
    editor = developer.elsewhere("editor")
    done = editor.types("cline_editor", f"export NODE_EXTRA_CA_CERTS=~/slm-copilot/ca.pem\n{command}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert one.asked(question), done.stdout[-3000:]


@pytest.mark.parametrize("program", COMMANDS)
def test_a_wrong_key_is_told(developer: Developer, one: Server, program: str) -> None:
    question, command = question_of(program, "without a key")
    done = developer.has_a_wrong_key().types(program, command)
    told = r"401|(?:invalid|incorrect).{0,10}api.{0,10}key|unauthori[sz]ed|authentication"
    assert re.search(told, done.stdout, re.IGNORECASE | re.DOTALL), done.stdout[-3000:]
    assert one.asked(question) == []


@pytest.mark.parametrize("program", ["continue", "pi"])
def test_a_client_certificate_is_shown(certified: Developer, mtls: Server, program: str) -> None:
    question, command = question_of(program, "with a certificate")
    done = certified.types(program, command)
    assert done.returncode == 0, done.stdout[-3000:]
    assert mtls.asked(question), done.stdout[-3000:]


@pytest.mark.parametrize("program", ["continue", "pi"])
def test_nobody_is_answered_without_a_certificate(certified: Developer, mtls: Server, program: str) -> None:
    """The same files, but for the certificate."""
    question, command = question_of(program, "without a certificate")
    strip = "sed -i '/clientCertificate/,$d' ~/slm-copilot/continue/config.yaml; rm -rf ~/.pi/agent/extensions"
    done = certified.types(program, f"{strip}\n{command}")
    assert re.search(r"certificate|connection|fetch failed|tls|ssl", done.stdout, re.IGNORECASE), done.stdout[-3000:]
    assert mtls.asked(question) == []


@pytest.mark.parametrize(("who", "said"), [("developer", r"tokens: \d+\nstopped: \w+ \d+ \w+"), ("wrong", "refused: 401")])
def test_what_claude_code_is_documented_to_ask(developer: Developer, one: Server, who: str, said: str) -> None:
    """By the SDK of its makers, with its environment: the program itself may not be run by everybody."""
    person = developer if who == "developer" else developer.has_a_wrong_key()
    ask = f"/opt/clients/python/bin/python -c {shlex.quote(CLAUDE)} $ANTHROPIC_MODEL 'Say hello to claude, {who}.'"
    done = person.types("claude", f"export SSL_CERT_FILE=$NODE_EXTRA_CA_CERTS\n{ask}")
    assert re.search(said, done.stdout), done.stdout[-3000:]
    asked = one.asked(f"Say hello to claude, {who}.")
    assert bool(asked) == (who == "developer") and all(tools_in(request.prompt) == ["read"] for request in asked)


@pytest.mark.parametrize("who", ["developer", "certified"])
def test_the_openai_sdk(request: pytest.FixtureRequest, who: str) -> None:
    person: Developer = request.getfixturevalue(who)
    spoken = person.runs("/opt/clients/python/bin/python ~/slm-copilot/python/chat.py hello")
    assert spoken.returncode == 0 and spoken.stdout.strip(), spoken.stdout[-3000:]
