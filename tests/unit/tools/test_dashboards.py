# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Grafana's dashboards are what their source makes, and as Grafana's own linter would have them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "roles/monitoring/files/dashboards"
COUNTER = re.compile(r"\b\w+_(?:total|bucket)\b(?!\")")


DASHBOARDS = pytest.importorskip("dashboards")
NAMES = sorted(DASHBOARDS.DASHBOARDS)


def test_each_file_is_what_its_source_makes() -> None:
    made = {name: json.dumps(DASHBOARDS.dashboard(name), indent=1) + "\n" for name in NAMES}
    assert {file.stem: file.read_text() for file in FOLDER.iterdir()} == made, "run tools/dashboards.py"


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows_and_whose(name: str) -> None:
    content = json.loads((FOLDER / f"{name}.json").read_text())
    assert [one["name"] for one in content["templating"]["list"]] == ["datasource", "instance"]
    panels = content["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels), "none lies on another"
    for panel in panels:
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'instance=~"$instance"' in target["expr"] or target["expr"].startswith("count(up{")
            for counter in COUNTER.finditer(target["expr"]):
                assert "rate(" in target["expr"][: counter.start()], f"{panel['title']}: {counter[0]} only grows"
            without_texts = re.sub(r'"[^"]*"', "", target["expr"])
            assert set(re.findall(r"\[([^\]]+)\]", without_texts)) <= {"$__rate_interval"}
