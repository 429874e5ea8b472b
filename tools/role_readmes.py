# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the README of each role from its argument specification, which is the one place where variables are described.

A computed default of a variable that is no text stands in defaults/main.yml only, since antsibull-docs takes defaults in a
specification for values of the documented type: the README shows its expression.

With --check it writes nothing and fails when a README is not up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
MARKUP = re.compile(r"\b[CVOP]\(([^)]*?)(#[a-z]+)?\)")


def paragraphs(description: str | list[str]) -> str:
    texts = [description] if isinstance(description, str) else description
    return "\n\n".join(MARKUP.sub(r"`\1`", " ".join(text.split())) for text in texts)


def default(value: Any) -> str:
    if value is None:
        return "none; it must be given"
    if value in ("", [], {}):
        return {"": "empty", list: "empty list", dict: "empty"}.get(value if value == "" else type(value), "empty")
    return f"`{str(value).lower() if isinstance(value, bool) else ' '.join(str(value).split())}`"


def option(name: str, spec: dict[str, Any], computed: Any) -> str:
    kind = spec["type"] + (f" of {spec['elements']}" if "elements" in spec else "")
    facts = [f"Type: {kind}", f"default: {default(spec.get('default', computed))}"]
    if "choices" in spec:
        facts.append("one of " + ", ".join(f"`{choice}`" for choice in spec["choices"]))
    lines = [f"### `{name}`", "", paragraphs(spec["description"]), "", "; ".join(facts) + "."]
    for sub_name, sub in spec.get("options", {}).items():
        required = ", required" if sub.get("required") else ""
        lines += ["", f"- `{sub_name}` ({sub['type']}{required}): {paragraphs(sub['description'])}"]
    return "\n".join(lines)


def readme(role: str, spec: dict[str, Any], defaults: dict[str, Any]) -> str:
    parts = [f"# Role `slm.copilot.{role}`", f"{spec['short_description']}.", paragraphs(spec["description"])]
    if spec["options"]:
        parts += ["## Variables", *(option(name, one, defaults.get(name)) for name, one in spec["options"].items())]
    parts.append("This page is made from `meta/argument_specs.yml` by `make docs`.")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    stale = []
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parents[1].name
        defaults = path.parents[1] / "defaults" / "main.yml"
        known = yaml.safe_load(defaults.read_text()) if defaults.exists() else {}
        text = readme(role, yaml.safe_load(path.read_text())["argument_specs"]["main"], known or {})
        target = path.parents[1] / "README.md"
        if check and (not target.exists() or target.read_text() != text):
            stale.append(str(target.relative_to(ROLES.parent)))
        elif not check:
            target.write_text(text)
    if stale:
        print(f"Not up to date, run make docs: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
