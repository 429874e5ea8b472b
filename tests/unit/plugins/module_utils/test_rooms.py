# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rooms of module_utils: imports run one way."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
ROOMS = sorted(path.parent for path in (PLUGINS / "module_utils").glob("*/__init__.py"))
OURS = "ansible_collections.slm.copilot.plugins."

# From one room into another, and why.
ALLOWED = {
    ("_engine/build.py", "_host.platforms"): "compile options follow from the system",
    ("_engine/cmake.py", "_host.limits"): "as many jobs as there are CPUs to run them",
    ("_engine/cmake.py", "_host.meminfo"): "as many jobs as the memory lets run",
    ("_host/tuning/bench.py", "_engine.sandbox"): "llama-bench runs as the engine's service does",
    ("_host/tuning/serve.py", "_engine.sandbox"): "and so does llama-server",
    ("_server/checks.py", "_access.keys"): "a key that cannot be one is refused before anybody is asked",
}


def imported(path: Path) -> Iterator[str]:
    """Yields our own modules that a file imports, without the prefix that all have."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            base = str(node.module).removeprefix(OURS)
            yield base if base.count(".") > 1 else f"{base}.{node.names[0].name}"


def test_nothing_lies_outside_the_rooms() -> None:
    assert [path.name for path in (PLUGINS / "module_utils").glob("*.py")] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_holds(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))


def test_imports_run_one_way() -> None:
    crossing = set()
    for room in ROOMS:
        for path in room.rglob("*.py"):
            for name in imported(path):
                assert name.startswith("module_utils."), f"{path} imports {name}, which hosts do not have"
                there = name.removeprefix("module_utils.")
                if there.split(".")[0] not in (room.name, "_common") or (room.name == "_common" != there.split(".")[0]):
                    crossing.add((path.relative_to(PLUGINS / "module_utils").as_posix(), there))
    assert crossing == set(ALLOWED)


@pytest.mark.parametrize("path", sorted((PLUGINS / "module_utils").rglob("*.py")), ids=lambda path: path.name)
def test_arguments_of_modules_stay_in_the_modules(path: Path) -> None:
    """Helpers take plain values, so that they can be read and called without a module."""
    text = path.read_text(encoding="utf-8")
    assert '"required": True' not in text
    assert "AnsibleModule" not in text
    assert not re.search(r"\bparams(\[|: )", text)
