# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: how to run a playbook as an operator does, and how to call the API as a client does."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"])
ADDRESSES = PROJECT / "molecule/default/inventory/addresses.yml"
sys.path.insert(0, str(PROJECT / ".collections"))
os.environ.pop("ANSIBLE_FORCE_COLOR", None)  # Molecule sets it, and what playbooks print is read here
FLEET = INVENTORY.parent / ".slm-copilot"
MODEL = next((PROJECT / ".cache/molecule/hub").glob("*/*/*.gguf"))
ADDRESS = "10.89.78.11"


@dataclass
class Run:
    """A finished ansible-playbook."""

    status: int
    output: str

    def changed(self, host: str) -> int:
        match = re.search(rf"^{host} .*changed=(\d+)", self.output, re.MULTILINE)
        assert match, self.output[-3000:]
        return int(match[1])


class Operator:
    """Somebody with an inventory who types ansible-playbook."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def command(self, *arguments: str, host: str = "copilot-default", playbook: str = "site.yml", **variables: Any) -> list[str]:
        # The other hosts are servers only where a test says so.
        group = self.directory / "servers.ini"
        group.write_text("\n".join(["[copilot_servers]", *host.split(":"), ""]))
        return [
            *(
                "ansible-playbook",
                str(PROJECT / playbook),
                "-i",
                str(INVENTORY),
                "-i",
                str(ADDRESSES),
                "-i",
                str(group),
                "--limit",
                f"{host}:localhost",
            ),
            *("-e", json.dumps({"copilot_fleet_dir": str(FLEET), **variables})),
            *arguments,
        ]

    def run(self, *arguments: str, **options: Any) -> Run:
        done = subprocess.run(
            self.command(*arguments, **options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def kill_at(self, progress: re.Pattern[str], *arguments: str, **options: Any) -> str:
        """Kills a run in the moment in which it prints such a line; returns what it had said."""
        said = ""
        command = self.command(*arguments, **options)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as run:
            assert run.stdout is not None
            for line in run.stdout:
                said += line
                if progress.search(line):
                    os.killpg(run.pid, signal.SIGKILL)
                    break
        assert progress.search(said), said[-3000:]
        return said


@dataclass
class Answer:
    status: int
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A developer's program: it trusts one CA, the fleet's, and nothing else."""

    def __init__(self, key: str | None, address: str = ADDRESS, ca: Path = FLEET / "ca/ca.pem") -> None:
        self.key, self.address, self.ca = key, address, ca

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection(self.address, 8443, timeout=120, context=context)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())

    def chat(self, **options: Any) -> Answer:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, **options}
        return self.request("POST", "/v1/chat/completions", body)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.fixture(scope="session")
def server() -> Host:
    return testinfra.get_host("podman://copilot-default")


@pytest.fixture(scope="session")
def spare() -> Host:
    return testinfra.get_host("podman://copilot-spare")


@pytest.fixture(scope="session")
def slow() -> Host:
    return testinfra.get_host("podman://copilot-slow")


@pytest.fixture(scope="session")
def hub() -> Host:
    return testinfra.get_host("podman://copilot-hub")


@pytest.fixture
def key(server: Host) -> str:
    return server.check_output("sed -n 's/^api_key *= //p' /etc/one-appliance/config")


@pytest.fixture(autouse=True)
def journal(request: pytest.FixtureRequest, server: Host) -> Iterator[None]:
    """Prints what the service said when a test fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(server.run("journalctl --unit=slm-copilot --no-pager --lines=40").stdout)
