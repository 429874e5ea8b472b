# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs Molecule scenarios two at a time (JOBS=...), since they wait more than they compute, in the order in which they are named.

What each says is shown when it ends, and kept in .cache/molecule/SCENARIO.log. At the end stands what failed, and the seconds of
each scenario, of its steps and of its slowest tests; .cache/molecule/summary keeps that, too.
Usage: tools/scenarios.py SCENARIO...
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".cache/molecule"
STEPS = ("dependency", "create", "prepare", "converge", "idempotence", "verify")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
STEP = re.compile(r"➜ (\w+): Executing$")
SLOW = re.compile(r"(\d+)\.\d+s (?:call|setup|teardown) +(?:\S*/)?(tests/\S+::.*)")
FAULT = re.compile(r"(?:FAILED|ERROR) tests/.*|fatal: .*|CRITICAL.*")
SHOWN_FAULTS, SHOWN_TESTS = 20, 5


@dataclass
class Scenario:
    name: str
    status: int = 1
    seconds: float = 0  # from its start to the beginning of the step that runs, and in the end to its end
    step: str = ""
    steps: dict[str, float] = field(default_factory=dict)
    slow: list[tuple[int, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def run(self) -> None:
        command = ["molecule", "test", "--scenario-name", self.name]
        # A line of 80 characters would break the names of tests.
        environment = os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "COLUMNS": "160"}
        started = time.monotonic()
        with (
            open(LOGS / f"{self.name}.log", "w", encoding="utf-8") as log,
            subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as molecule,
        ):
            assert molecule.stdout is not None
            for coloured in molecule.stdout:
                log.write(coloured)
                log.flush()
                self.read(coloured, time.monotonic() - started)
        self.status = molecule.returncode
        self.read("➜ end: Executing", time.monotonic() - started)
        print((LOGS / f"{self.name}.log").read_text(encoding="utf-8"), end="", flush=True)

    def read(self, coloured: str, seconds: float) -> None:
        """Takes a line that came so many seconds after the start."""
        line = COLOUR.sub("", coloured).rstrip()
        if begun := STEP.search(line):
            if self.step:
                self.steps[self.step] = self.steps.get(self.step, 0) + seconds - self.seconds
            self.step, self.seconds = begun[1], seconds
        elif slow := SLOW.search(line):
            self.slow.append((int(slow[1]), slow[2]))
        elif fault := FAULT.search(line):
            self.faults.append(fault[0][:300])


def summary(scenarios: list[Scenario]) -> str:
    lines = [f"  {'scenario':24} {'all':>6}" + "".join(f"{step:>13}" for step in STEPS)]
    for one in scenarios:
        outcome = "FAILED" if one.status else "passed"
        steps = "".join(f"{one.steps.get(step, 0):>13.0f}" for step in STEPS)
        lines.append(f"  {one.name:17} {outcome} {one.seconds:>6.0f}{steps}")
    lines.append("Slowest tests:")
    for one in scenarios:
        lines += [f"  {one.name:17} {seconds:>6} {test}" for seconds, test in sorted(one.slow, reverse=True)[:SHOWN_TESTS]]
    for one in scenarios:
        lines += [f"{one.name}: {fault}" for fault in (one.faults[:SHOWN_FAULTS] if one.status else [])]
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    scenarios = [Scenario(name) for name in names]
    started = time.monotonic()
    if any("slm-copilot-installed:" in (ROOT / "molecule" / name / "molecule.yml").read_text() for name in names):
        # Before all others, so that no two compile: each takes the engine from the cache then.
        image = subprocess.run([ROOT / "tools/host-image", "bookworm", "--installed"], check=False)
        if image.returncode:
            print("The image that scenarios start from cannot be made: what failed is above.", file=sys.stderr)
            return image.returncode
    text = f"\nMolecule, in seconds: {time.monotonic() - started:.0f} until its image was there\n"
    with ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        list(pool.map(Scenario.run, scenarios))
    text += summary(scenarios)
    (LOGS / "summary").write_text(text, encoding="utf-8")
    print(text, end="")
    return int(any(one.status for one in scenarios))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
