# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the collection's bill of materials (CycloneDX 1.6, JSON): what the roles install on hosts from elsewhere, by checksum.

It lists the Python packages of the roles' locked requirements and the source that contains llama.cpp. Debian's packages, whose
versions are those of the host's release, and models, which users choose, are not in it. The same checkout always gives the same
bytes. cyclonedx-py reads the requirements; no network is needed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[1]
BUILD_ONLY = "build-backend.txt"  # installed while the engine is compiled, and removed with the compiler


class Incomplete(Exception):
    """A component has no checksum, or the document is not what the CycloneDX schema asks for."""


def locked(requirements: Path) -> list[dict[str, Any]]:
    """The components that cyclonedx-py sees in a file of locked requirements."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--no-validate", str(requirements)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    components: list[dict[str, Any]] = json.loads(done.stdout)["components"]
    return components


def engine(defaults: dict[str, Any]) -> dict[str, Any]:
    """The source distribution that the role llama_cpp_build compiles, unless it is told to take another."""
    version = defaults["llama_cpp_build_version"]
    return {
        "type": "library",
        "name": "llama-cpp-python",
        "version": version,
        "description": "Source distribution that holds llama.cpp, which hosts compile",
        "purl": f"pkg:pypi/llama-cpp-python@{version}",
        "hashes": [{"alg": "SHA-256", "content": defaults["llama_cpp_build_sha256"]}],
    }


def merged(parts: list[tuple[str, bool, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """One component for each package and version, with the roles that install it.

    :param parts: for each file its role, whether hosts need it only while they compile, and its components.
    :raises Incomplete: a component has no checksum.
    """
    found: dict[str, dict[str, Any]] = {}
    for role, build_only, components in parts:
        for component in components:
            purl = component["purl"]
            if not any("hashes" in place for place in [component, *component.get("externalReferences", [])]):
                raise Incomplete(f"{purl} of the role {role} has no checksum")
            one = found.setdefault(purl, {**component, "bom-ref": purl, "scope": "excluded", "properties": []})
            if one.get("description", "").startswith("requirements line"):
                del one["description"]
            if not build_only:
                one["scope"] = "required"
            one["properties"].append({"name": "slm.copilot:role", "value": role})
    return [found[purl] for purl in sorted(found)]


def bill(galaxy: dict[str, Any], components: list[dict[str, Any]]) -> str:
    """The document, as JSON text.

    :param galaxy: what galaxy.yml says of the collection.
    :raises Incomplete: it is not what the CycloneDX schema asks for.
    """
    name = f"{galaxy['namespace']}.{galaxy['name']}"
    collection = {
        "type": "application",
        "bom-ref": name,
        "name": name,
        "version": galaxy["version"],
        "description": galaxy["description"],
        "licenses": [{"license": {"id": one}} for one in galaxy["license"]],
        "externalReferences": [{"type": "vcs", "url": galaxy["repository"]}],
    }
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": collection, "properties": [{"name": "cdx:reproducible", "value": "true"}]},
        "components": components,
    }
    text = json.dumps(document, indent=2) + "\n"
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise Incomplete(str(problem))
    return text


def collected(root: Path) -> str:
    """The bill of materials of the collection in a checkout."""
    parts = [
        (path.parents[1].name, path.name == BUILD_ONLY, locked(path))
        for path in sorted([*root.glob("roles/*/files/requirements.txt"), *root.glob(f"roles/*/files/{BUILD_ONLY}")])
    ]
    defaults = yaml.safe_load((root / "roles/llama_cpp_build/defaults/main.yml").read_text())
    parts.append(("llama_cpp_build", False, [engine(defaults)]))
    return bill(yaml.safe_load((root / "galaxy.yml").read_text()), merged(parts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="file to write")
    target = parser.parse_args().output
    try:
        target.write_text(collected(ROOT))
    except Incomplete as problem:
        print(f"No bill of materials: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
