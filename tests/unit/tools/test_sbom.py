# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bill of materials has every locked package once, with its checksum, and nothing that changes from run to run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
sbom = pytest.importorskip("sbom")

ROLES = Path(__file__).resolve().parents[3] / "roles"
GALAXY = {
    "namespace": "slm",
    "name": "copilot",
    "version": "1.2.3",
    "description": "A copilot.",
    "license": ["GPL-3.0-or-later"],
    "repository": "https://example.com/slm-copilot",
}


def package(name: str, **others: Any) -> dict[str, Any]:
    return {
        "type": "library",
        "name": name,
        "version": "1.0",
        "purl": f"pkg:pypi/{name}@1.0",
        "description": f"requirements line 1: {name}==1.0",
        "hashes": [{"alg": "SHA-256", "content": "0" * 64}],
        **others,
    }


def test_a_package_of_two_roles_is_there_once_and_names_both() -> None:
    shared, alone = sbom.merged([("router", False, [package("b"), package("a")]), ("litellm_lb", False, [package("b")])])[::-1]
    assert (alone["purl"], shared["purl"]) == ("pkg:pypi/a@1.0", "pkg:pypi/b@1.0")
    assert [one["value"] for one in shared["properties"]] == ["router", "litellm_lb"]
    assert "description" not in shared


@pytest.mark.parametrize(
    ("build_only", "scope"),
    [pytest.param([True], "excluded", id="while compiling"), pytest.param([True, False], "required", id="while serving, too")],
)
def test_what_only_the_compile_needs_is_marked(build_only: list[bool], scope: str) -> None:
    (one,) = sbom.merged([("role", only, [package("a")]) for only in build_only])
    assert one["scope"] == scope


def test_a_package_without_a_checksum_is_refused() -> None:
    naked = package("a")
    del naked["hashes"]
    with pytest.raises(sbom.Incomplete, match=re.escape("pkg:pypi/a@1.0 of the role router has no checksum")):
        sbom.merged([("router", False, [naked])])


def test_what_the_schema_does_not_know_is_refused() -> None:
    with pytest.raises(sbom.Incomplete, match="license"):
        sbom.bill({**GALAXY, "license": ["Nobody's"]}, sbom.merged([("router", False, [package("a")])]))


def test_everything_that_the_roles_lock_is_in_it() -> None:
    text = sbom.collected(ROLES.parent)
    document = json.loads(text)
    locks = [*ROLES.glob("*/files/requirements.txt"), *ROLES.glob("*/files/build-backend.txt")]
    pins = {pin for path in locks for pin in re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text(), re.MULTILINE)}
    engine = yaml.safe_load((ROLES / "llama_cpp_build/defaults/main.yml").read_text())
    pins.add(("llama-cpp-python", engine["llama_cpp_build_version"]))
    assert {(one["name"], one["version"]) for one in document["components"]} == pins
    assert document["metadata"]["component"]["name"] == "slm.copilot"
    assert engine["llama_cpp_build_sha256"] in text
    assert "timestamp" not in text
    assert "serialNumber" not in text
