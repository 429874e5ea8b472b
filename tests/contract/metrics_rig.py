# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what Prometheus reads, and has Debian's promtool look at it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from rig import CHECKOUT, Answer, wait_for

SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')


class Samples:
    """All samples of one answer."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = [SAMPLE.fullmatch(line) for line in text.splitlines() if line and not line.startswith("#")]
        assert all(found), text
        self.all = [(match[1], dict(LABEL.findall(match[2] or "")), float(match[3])) for match in found if match]

    def sum(self, name: str, **labels: str) -> float:
        """Returns the sum of all samples with that name and these labels."""
        return sum(value for one, has, value in self.all if one == name and labels.items() <= has.items())

    def names(self) -> set[str]:
        return {name for name, _labels, _value in self.all}

    def label_values(self) -> set[str]:
        return {value for _name, labels, _value in self.all for value in labels.values()}

    def series(self) -> set[str]:
        return {f"{name}{sorted(labels.items())}" for name, labels, _value in self.all}


def samples_of(answer: Answer) -> Samples:
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/plain"), answer.headers
    return Samples(answer.text)


def grows_by(look: Callable[[], Samples], before: Samples, expected: dict[tuple[str, ...], float]) -> None:
    """Waits until counters have grown by just so much, which happens a moment after the client has its answer.

    :param expected: name of a metric and labels as ``name=value`` -> by how much.
    """

    def found() -> dict[tuple[str, ...], float]:
        now = look()
        labels = {key: dict(one.split("=", 1) for one in key[1:]) for key in expected}
        return {key: round(now.sum(key[0], **labels[key]) - before.sum(key[0], **labels[key]), 6) for key in expected}

    try:
        wait_for("", lambda: found() == expected, 5)
    except AssertionError:
        assert found() == expected


def prometheus() -> Path:
    """Returns the folder with promtool and prometheus."""
    done = subprocess.run([CHECKOUT / "tools/promtool"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def check(text: str) -> None:
    """Holds an exposition against Prometheus' form and its conventions for names."""
    done = subprocess.run(
        [prometheus() / "promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
