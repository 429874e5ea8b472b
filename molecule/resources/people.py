# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who the scenarios are about: an operator who runs playbooks, and developers whose programs call the API."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"])
FLEET = INVENTORY.parent / ".slm-copilot"
MODEL = next((PROJECT / ".cache/molecule/hub").glob("*/*/*.gguf"))

sys.path.insert(0, str(PROJECT / ".collections"))
os.environ.pop("ANSIBLE_FORCE_COLOR", None)  # Molecule sets it, and what playbooks print is read here


@dataclass
class Run:
    """A finished ansible-playbook."""

    status: int
    output: str

    def changed(self, host: str) -> int:
        match = re.search(rf"^{host} .*changed=(\d+)", self.output, re.MULTILINE)
        assert match, self.output[-3000:]
        return int(match[1])


@dataclass
class Operator:
    """Somebody with inventories who types ansible-playbook."""

    directory: Path
    inventories: list[Path]
    limit: str = ""

    def command(self, *arguments: str, playbook: str = "site.yml", groups: dict[str, list[str]] | None = None, **variables: Any):
        """Returns the command line. ``groups`` are groups with hosts that stand in an inventory of their own."""
        more = self.directory / "groups.ini"
        more.write_text("".join("\n".join([f"[{name}]", *hosts, ""]) for name, hosts in (groups or {}).items()))
        sources = [INVENTORY, *self.inventories, more]
        return [
            "ansible-playbook",
            str(PROJECT / playbook),
            *(part for source in sources for part in ("-i", str(source))),
            *(["--limit", self.limit] if self.limit else []),
            *("-e", json.dumps({"copilot_fleet_dir": str(FLEET), **variables})),
            *arguments,
        ]

    def run(self, *arguments: str, **options: Any) -> Run:
        done = subprocess.run(
            self.command(*arguments, **options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
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
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stream:
    """A stream as a developer's program sees it: whether it ended as the protocol wants it, and with what."""

    status: int
    pieces: list[str] = field(default_factory=list)
    finished: bool = False  # [DONE] came, and then the end of the answer
    error: str = ""
    seconds_to_first: float = 0.0


@dataclass
class Client:
    """A developer's program: it trusts one CA, the fleet's, and nothing else."""

    key: str | None
    address: str
    ca: Path = FLEET / "ca/ca.pem"

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection(self.address, 8443, timeout=120, context=context)

    def send(self, connection: http.client.HTTPSConnection, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        connection.request(method, path, json.dumps(body) if body else None, headers)
        return connection.getresponse()

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        connection = self.connect()
        try:
            response = self.send(connection, method, path, body)
            return Answer(
                response.status, response.read().decode(), {name.lower(): value for name, value in response.headers.items()}
            )
        finally:
            connection.close()

    def chat(self, **options: Any) -> Answer:
        return self.request("POST", "/v1/chat/completions", question(**options))

    def stream(self, **options: Any) -> Stream:
        """Reads a whole stream."""
        *_pieces, seen = self.streaming(**options)
        return seen

    def streaming(self, **options: Any) -> Iterator[Stream]:
        """Yields what was seen so far at each piece, and at the end."""
        connection = self.connect()
        started = time.monotonic()
        try:
            response = self.send(connection, "POST", "/v1/chat/completions", question(stream=True, **options))
            seen = Stream(response.status)
            if response.status != http.client.OK:
                seen.error = response.read().decode()
                yield seen
                return
            for line in response:
                data = line.decode().strip().removeprefix("data: ")
                if data == "[DONE]":
                    seen.finished = not response.read().strip()
                elif line.startswith(b"data: "):
                    seen.seconds_to_first = seen.seconds_to_first or time.monotonic() - started
                    piece = json.loads(data)
                    if "error" in piece:
                        seen.error = str(piece["error"])
                    else:
                        seen.pieces.append(data)
                        yield seen
            yield seen
        finally:
            connection.close()


def question(**options: Any) -> dict[str, Any]:
    return {"model": "devstral-small-2", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, **options}
