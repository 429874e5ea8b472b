# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: a host with three models, its operator, and a developer."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

sys.path.insert(0, os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule/resources"))
os.environ.setdefault("HF_ENDPOINT", "http://10.89.84.2:8080")

import people
from developers import Client, eventually
from journal import journal_of, shown_on_failure

INVENTORY = people.PROJECT / "molecule/models/inventory/models.yml"
ADDRESS = "10.89.84.11"
UNIT = "slm-copilot.service"


class Server:
    """The host, as somebody sees it who logs in there."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def key(self) -> str:
        return self.host.check_output("sed -n 's/^api_key *= //p' /etc/one-appliance/config")

    def processes(self) -> dict[str, int]:
        """The process of each model that is loaded."""
        lines = self.host.check_output("pgrep --list-full llama-server").splitlines()
        found = {re.search(r"--alias (\S+)", line): int(line.split()[0]) for line in lines}
        return {name[1]: pid for name, pid in found.items() if name}

    def weights_kib(self, pid: int) -> int:
        """What a process has in memory of the file of its model, and of its program."""
        return int(self.host.check_output(f"awk '/^RssFile/ {{print $2}}' /proc/{pid}/status"))

    def answers(self, port: str) -> bool:
        """Whether somebody on the host can connect to a port of the loopback address."""
        return self.host.run(f"python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}))\"").rc == 0

    def main_pid(self) -> int:
        return int(self.host.check_output(f"systemctl show --property=MainPID --value {UNIT}"))

    def active(self, unit: str = UNIT) -> str:
        return self.host.run(f"systemctl is-active {unit}").stdout.strip()

    def presets(self) -> dict[str, dict[str, str]]:
        sections: dict[str, dict[str, str]] = {}
        for line in self.host.check_output("cat /etc/slm-copilot/models.ini").splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif " = " in line and sections:
                name, value = line.split(" = ")
                section[name] = value
        return sections


class Developer(Client):
    def ask(self, model: str, **options: Any) -> int:
        self.model = model
        return self.chat(**options).status

    def states(self) -> dict[str, str]:
        return {one["id"]: one["status"]["value"] for one in self.request("GET", "/v1/models").json()["data"]}


class Operator(people.Operator):
    def models(self, operation: str, **variables: Any) -> people.Run:
        return self.run(playbook="playbooks/models.yml", operation=operation, **variables)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, [INVENTORY], limit="models-host:localhost")


@pytest.fixture(scope="session")
def server() -> Server:
    return Server(testinfra.get_host("podman://models-host"))


@pytest.fixture
def developer(server: Server) -> Developer:
    return Developer(server.key(), ADDRESS, people.FLEET / "ca/ca.pem")


@pytest.fixture(autouse=True)
def all_is_well(request: pytest.FixtureRequest, server: Server) -> Iterator[None]:
    """Each test begins with a server that serves, and its pinned model. When one fails, the services' words are shown."""
    eventually(lambda: server.active() == "active" and "pinned" in server.processes(), "the server serves", 120)
    with shown_on_failure(request, lambda: journal_of(server.host, "slm-copilot*", lines=60)):
        yield


def table_of(run: people.Run) -> dict[str, str]:
    """The status of each model in the table that the playbook prints."""
    lines = re.findall(r'"models-host  (\S+) +(\S+)', run.output)
    return {name: status.rstrip(",") for name, status in lines}


def figures(server: Server) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(server.host.check_output("cat /etc/slm-copilot/tuning.json"))
    return content["models"]
