# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the tables of docs/models.md from the catalogue, which is the one place where models are described.

With --check it writes nothing and fails when the page is not up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
CATALOGUE = CHECKOUT / "roles/model_fetch/vars/main/catalogue.yml"
PAGE = CHECKOUT / "docs/models.md"
BEGIN, END = "<!-- made by make docs: begin -->", "<!-- end -->"


def catalogue() -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = yaml.safe_load(CATALOGUE.read_text())["__model_fetch_shipped"]
    return entries


def row(*cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    return [row(*heads), row(*["---"] * len(heads)), *(row(*cells) for cells in rows)]


def tools_of(entry: dict[str, Any]) -> str:
    return "does not chat" if entry.get("fim_only") else "yes" if entry.get("tools", True) else "no"


def rendered(entries: dict[str, dict[str, Any]]) -> str:
    """Numbers that can be missing in an operator's entry are not missing here; a test sees to that."""
    models = [
        [f"`{name}`", one["strengths"], tools_of(one), one["size_gb"], one["ram_gb"], one["context_length"], one["licence"]]
        for name, one in entries.items()
    ]
    sources = [
        [f"`{name}`", f"`{one['repo']}`", f"`{one['file']}`", f"`{one['revision']}`", "yes" if one["verified"] else "no"]
        for name, one in entries.items()
    ]
    caveats = [f"- `{name}`: {' '.join(one['caveat'].split())}" for name, one in entries.items() if "caveat" in one]
    lines = [
        *table(["id", "good at", "tools", "file, GB", "memory, GB", "context, tokens", "licence"], models),
        "",
        "What to know before choosing:",
        "",
        *caveats,
        "",
        *table(["id", "repository", "file", "revision", "verified"], sources),
    ]
    return "\n".join(lines)


def page(text: str, entries: dict[str, dict[str, Any]]) -> str:
    before, _begin, rest = text.partition(BEGIN)
    _tables, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{rendered(entries)}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    text = PAGE.read_text()
    made = page(text, catalogue())
    if check and made != text:
        print(f"Not up to date, run make docs: {PAGE.relative_to(CHECKOUT)}", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
