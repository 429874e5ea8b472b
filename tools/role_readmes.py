# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the README of each role from its argument specification, which is the one place where variables are described, and from
meta/results.yml, which describes the variables that the role sets for others.

A computed default of a variable that is no text stands in defaults/main.yml only, since antsibull-docs takes defaults in a
specification for values of the documented type: the README shows its expression.

With --check it writes nothing and fails when a README is not up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
# Of roles with many variables: those that people set first
FIRST = {
    "copilot": "model models context_size slots users tls_domain zone_policy extra_backends firewall mtls usage upgrade_batch",
    "gateway": "key_requests key_concurrent address_requests address_concurrent connections unlimited_networks timeout",
    "llama_server": "cache_type_k cache_type_v cache_ram_mib reserve_mib idle_seconds models_max log_verbosity extra_args",
    "tls": "mode extra_names certificate_days ca_passphrase provided_certificate provided_key provided_ca acme_email",
}
MARKUP = re.compile(r"\b[CVOPM]\(([^)]*?)(#[a-z]+)?\)")


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
    facts = [f"Type: {kind}", "required" if spec.get("required") else f"default: {default(spec.get('default', computed))}"]
    if "choices" in spec:
        facts.append("one of " + ", ".join(f"`{choice}`" for choice in spec["choices"]))
    lines = [f"### `{name}`", "", paragraphs(spec["description"]), "", "; ".join(facts) + "."]
    for sub_name, sub in spec.get("options", {}).items():
        required = ", required" if sub.get("required") else ""
        lines += ["", f"- `{sub_name}` ({sub['type']}{required}): {paragraphs(sub['description'])}"]
    return "\n".join(lines)


def entry_points(specs: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """The sections of task files that a play can run by themselves, with the variables that only they have."""
    for name, spec in specs.items():
        if name != "main":
            texts = [spec["short_description"] + ".", paragraphs(spec["description"])]
            yield "\n\n".join([f"### Tasks `{name}`", *dict.fromkeys(texts)])
            yield from (
                option(one, its, defaults.get(one)).replace("###", "####", 1)
                for one, its in spec["options"].items()
                if one not in specs["main"]["options"]
            )


def results(documented: dict[str, Any]) -> Iterator[str]:
    """The sections of the variables that a role sets for other roles and playbooks."""
    for name, spec in documented.items():
        parts = (f"- `{part}` ({one['type']}): {paragraphs(one['description'])}" for part, one in spec["contains"].items())
        yield "\n".join([f"### Result `{name}`", "", paragraphs(spec["description"]), "", *parts])


def readme(role: str, specs: dict[str, Any], defaults: dict[str, Any], documented: dict[str, Any]) -> str:
    spec = specs["main"]
    parts = [f"# Role `slm.copilot.{role}`", f"{spec['short_description']}.", paragraphs(spec["description"])]
    first = [f"{role}_{name}" for name in FIRST.get(role, "").split()]
    described = {name: option(name, one, defaults.get(name)) for name, one in spec["options"].items()}
    if first:
        parts += ["## Variables that people set first", *(described.pop(name) for name in first), "## The other variables"]
    elif described:
        parts.append("## Variables")
    parts += described.values()
    if len(specs) > 1:
        parts += ["## Parts", "A play can run these alone, with `tasks_from`.", *entry_points(specs, defaults)]
    if documented:
        parts += ["## Results", "Other roles and playbooks may use these variables.", *results(documented)]
    parts.append("This page is made from `meta/argument_specs.yml` and `meta/results.yml` by `make docs`.")
    return "\n\n".join(parts) + "\n"


def load(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    stale = []
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parents[1]
        specs = load(path)["argument_specs"]
        text = readme(role.name, specs, load(role / "defaults/main.yml"), load(role / "meta/results.yml"))
        target = role / "README.md"
        if check and (not target.exists() or target.read_text() != text):
            stale.append(str(target.relative_to(ROLES.parent)))
        elif not check:
            target.write_text(text)
    if stale:
        print(f"Not up to date, run make docs: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
