# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The versions that the documentation says were run are those that the scenario installs."""

from __future__ import annotations

import json
import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = {"aider-chat": "aider", "opencode-ai": "OpenCode", "cline": "Cline", "@continuedev/cli": "Continue"} | {
    "@earendil-works/pi-coding-agent": "pi",
    "@openai/codex": "Codex",
    "anthropic": "Anthropic",
}


def test_the_table_has_the_pinned_versions() -> None:
    pins = json.loads((CHECKOUT / "tests/clients/package.json").read_text())["dependencies"]
    for line in (CHECKOUT / "tests/clients/requirements.in").read_text().splitlines():
        name, version = line.split("#")[0].strip().split("==")
        pins[name] = version
    page = (CHECKOUT / "docs/clients.md").read_text()
    rows = dict(re.findall(r"^\| (\w+) \| ([0-9.]+) \|", page, re.MULTILINE))
    rows |= re.findall(r"\((Anthropic) ([0-9.]+)\)", page)
    assert rows == {client: pins[package] for package, client in PACKAGES.items()}
