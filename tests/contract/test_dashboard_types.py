# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Grafana's own types accept the dashboards."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "roles/monitoring/files/dashboards").glob("*.json"))
TSC = "node_modules/.bin/tsc"
FLAGS = ("--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext")

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Grafana's types and a compiler."""
    folder = tmp_path_factory.mktemp("grafana")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests/grafana" / name, folder)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder


def complaints(grafana: Path, name: str, dashboard: dict[str, Any]) -> str:
    """Returns what the compiler says of a dashboard."""
    panels, rest = dashboard["panels"], {key: value for key, value in dashboard.items() if key != "panels"}
    (grafana / f"{name}.ts").write_text(
        'import type { Dashboard, Panel } from "@grafana/schema";\n'
        f"const panels: Panel[] = {json.dumps(panels)};\n"
        f"const dashboard: Dashboard = {{ ...{json.dumps(rest)}, panels }};\n"
        "export default dashboard;\n"
    )
    return subprocess.run([TSC, *FLAGS, f"{name}.ts"], cwd=grafana, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_types_are_grafanas(grafana: Path, path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert complaints(grafana, path.stem, dashboard) == ""
    dashboard["panels"][0]["type"] = 7
    assert "Type 'number' is not assignable to type 'string'" in complaints(grafana, f"{path.stem}-wrong", dashboard)
