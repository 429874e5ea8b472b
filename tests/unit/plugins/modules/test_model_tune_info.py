# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os

from ansible_collections.slm.copilot.plugins.modules.model_tune_info import engine_mark


def test_an_engine_is_told_from_the_one_before(tmp_path):
    """Also where it is the same version, installed again."""
    assert engine_mark(str(tmp_path)) == ""
    marks = set()
    for moment in (1, 2):
        (tmp_path / "new").write_text("{}")
        os.utime(tmp_path / "new", (moment, moment))
        (tmp_path / "new").replace(tmp_path / "manifest.json")
        mark = engine_mark(str(tmp_path))
        assert mark == engine_mark(str(tmp_path))
        marks.add(mark)
    assert len(marks) == 2
