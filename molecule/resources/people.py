# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operator of the scenarios, who runs playbooks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
INVENTORY = Path(os.environ["MOLECULE_INVENTORY_FILE"])
FLEET = INVENTORY.parent / ".slm-copilot"
MODEL = next((PROJECT / ".cache/molecule/hub").glob("*/*/*.gguf"), None)  # where the scenario has a hub

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
            # Other hosts and tests on the same machine slow an engine now and then.
            *("-e", json.dumps({"copilot_fleet_dir": str(FLEET), "copilot_gate_slowdown": 100, **variables})),
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
