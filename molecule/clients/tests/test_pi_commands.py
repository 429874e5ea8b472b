# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pi's commands for administrators, given to the real pi by the protocol in which other programs drive it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from conftest import Developer
from people import FLEET

DRIVEN = "pi --mode rpc --no-session --provider slm-copilot --model devstral-small-2"


@dataclass
class Pi:
    """A running pi, and the questions that it asked."""

    process: subprocess.Popen[str]
    questions: list[str] = field(default_factory=list)

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def told(self, command: str, sure: bool = False) -> str:
        """Types a command, answers what it asks, and returns what it says."""
        self.send(id=command, type="prompt", message=command)
        said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("method") == "confirm":
                self.questions.append(event["message"])
                self.send(type="extension_ui_response", id=event["id"], confirmed=sure)
            elif event.get("method") == "notify":
                said += event["message"]
            elif event.get("type") == "response" and event.get("id") == command:
                return said
        raise AssertionError(f"pi ended: {said}")


@contextmanager
def driven(developer: Developer) -> Iterator[Pi]:
    command = developer.command(f"cd ~/project\n{developer.blocks['pi']}\n{DRIVEN}", 90, "--interactive")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield Pi(process)
        assert process.stdin is not None
        process.stdin.close()


def test_an_administrator_sees_loads_and_unloads(developer: Developer) -> None:
    with driven(developer) as pi:
        heads, model = (line.split() for line in pi.told("/slm-copilot-status").splitlines())
        assert heads == ["model", "state", "requests", "waiting", "context"]
        assert model == ["devstral-small-2", "ready", "0", "0", "32768"]
        assert pi.told("/slm-copilot-refresh") == "Models: devstral-small-2"
        assert pi.told("/slm-copilot-load devstral-small-2") == "devstral-small-2 is loaded"
        assert pi.told("/slm-copilot-load") == "slm-copilot: name a model: devstral-small-2"
        assert pi.questions == []
        assert pi.told("/slm-copilot-unload devstral-small-2") == ""  # as was answered
        assert "stays loaded" in pi.told("/slm-copilot-unload devstral-small-2", sure=True)  # as the host has no other
        assert pi.questions == ["It answers 0 requests, which are cut off, and 0 wait for it."] * 2


def test_who_is_no_administrator_is_told(developer: Developer) -> None:
    bob = developer.has_another_key((FLEET / "clients-one/bob/api-key").read_text().strip())
    with driven(bob) as pi:
        assert pi.told("/slm-copilot-status").startswith("slm-copilot: 403: ")
