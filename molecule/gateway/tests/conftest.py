# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: the API as a developer calls it, and the host behind it."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))

from journal import journal_of, shown_on_failure

INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"])
CONVERGE = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "molecule/gateway/converge.yml"
CA = INVENTORY.parent / ".slm-copilot/ca/ca.pem"
ADDRESS = "10.89.80.11"
HOST = "gateway-1"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def error(self) -> dict[str, Any]:
        """What an OpenAI client reads from an error."""
        assert self.headers["Content-Type"].startswith("application/json"), self
        error = json.loads(self.body)["error"]
        assert set(error) >= {"message", "type", "code"}, error
        return error


def connect() -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(ADDRESS, 8443, timeout=120, context=ssl.create_default_context(cafile=str(CA)))


class Client:
    def __init__(self, key: str | None) -> None:
        self.key = key or ""
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPSConnection:
        connection = connect()
        connection.request(method, path, body, self.headers | headers)
        return connection

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = self.send(method, path, body, **headers)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read().decode())
        connection.close()
        return answer

    def models(self) -> Answer:
        return self.request("GET", "/v1/models")

    def models_often(self, times: int) -> list[Answer]:
        """Asks over one connection, which is quick also where the machine is not."""
        connection = connect()
        answers = []
        for _round in range(times):
            connection.request("GET", "/v1/models", headers=self.headers)
            response = connection.getresponse()
            answers.append(Answer(response.status, response.headers, response.read().decode()))
        connection.close()
        return answers

    def ask(self, tokens: int, stream: bool = True) -> http.client.HTTPSConnection:
        """Sends a question whose answer has so many tokens, and does not wait for it."""
        question = {
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": stream,
        }
        return self.send("POST", "/v1/chat/completions", json.dumps(question))


@pytest.fixture(scope="session")
def server() -> Host:
    return testinfra.get_host(f"podman://{HOST}")


@pytest.fixture(scope="session")
def keys(server: Host) -> dict[str, str]:
    lines = server.check_output("cat /etc/slm-copilot/api-keys").splitlines()
    return {name.split(": ")[1]: key for name, key in zip(lines, lines[1:]) if name.startswith("# name: ")}


@pytest.fixture
def alice(keys: dict[str, str]) -> Client:
    return Client(keys["alice"])


@pytest.fixture
def bob(keys: dict[str, str]) -> Client:
    return Client(keys["bob"])


@pytest.fixture
def team(keys: dict[str, str]) -> Client:
    return Client(keys["shared"])


@pytest.fixture(scope="session")
def converge() -> Callable[..., str]:
    """Runs roles of the play, with changed variables; returns the recap, or the end when it fails."""

    def run(tags: str = "gateway", **variables: Any) -> str:
        command = ["ansible-playbook", str(CONVERGE), "-i", str(INVENTORY), "-e", json.dumps(variables), "--tags", tags]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout.split("PLAY RECAP")[1] if done.returncode == 0 else done.stdout[-4000:]

    return run


def busy_slots(server: Host, key: str) -> int:
    """How many slots of llama-server are at work, asked where nothing is in front of it."""
    program = (
        "import json, sys, urllib.request as r; "
        "q = r.Request('http://127.0.0.1:8444/slots', headers={'Authorization': 'Bearer ' + sys.stdin.read().strip()}); "
        "print(sum(slot['is_processing'] for slot in json.load(r.urlopen(q))))"
    )
    return int(server.check_output("printf %%s %s | python3 -c %s", key, program))


@pytest.fixture(autouse=True)
def journal(request: pytest.FixtureRequest, server: Host) -> Iterator[None]:
    """Prints what the gateway said when a test fails."""
    with shown_on_failure(request, lambda: journal_of(server, "slm-copilot-gateway")):
        yield
