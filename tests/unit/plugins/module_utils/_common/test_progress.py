# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import time

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common import progress as _progress
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile


def test_nothing_is_written_when_nobody_watches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ProgressFile(None).update("downloading", 1, 2, "bytes")
    assert list(tmp_path.iterdir()) == []


def test_the_figures_are_those_of_the_update(tmp_path):
    path = tmp_path / "progress"
    before = time.time()
    ProgressFile(str(path)).update("downloading", 10, None, "bytes")
    figures = json.loads(path.read_text())
    assert before <= figures.pop("time") <= time.time()
    assert figures.pop("pid") > 0
    assert figures == {"phase": "downloading", "done": 10, "total": None, "unit": "bytes"}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("updates", "seen"),
    [
        pytest.param([(0.0, "a", 1), (0.9, "a", 2)], 1, id="same-second"),
        pytest.param([(0.0, "a", 1), (1.1, "a", 2)], 2, id="a-second-later"),
        pytest.param([(0.0, "a", 1), (0.1, "b", 2)], 2, id="new-phase-at-once"),
    ],
)
def test_it_is_written_at_most_once_a_second(tmp_path, monkeypatch, updates, seen):
    path = tmp_path / "progress"
    progress = ProgressFile(str(path))
    for now, phase, done in updates:
        monkeypatch.setattr(_progress.time, "monotonic", lambda now=now: now)
        progress.update(phase, done, 10, "steps")
    assert json.loads(path.read_text())["done"] == seen


def test_work_goes_on_when_the_file_cannot_be_written(tmp_path):
    ProgressFile(str(tmp_path / "missing" / "progress")).update("downloading", 1, 2, "bytes")


def test_a_link_of_somebody_else_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "progress.new").symlink_to(victim)
    ProgressFile(str(tmp_path / "progress")).update("downloading", 1, 2, "bytes")
    assert victim.read_text() == "precious"
