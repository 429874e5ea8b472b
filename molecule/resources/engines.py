# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The compiled engine of Debian 12 from the cache, packed again under the names of other engines."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / ".collections"))

from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import TARGETS
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import MANIFEST, pack

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slm-copilot/engine"
DEFAULTS = PROJECT / "roles/llama_cpp_build/defaults/main.yml"
COMPILED = "bookworm-amd64"


def plan_of(target: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Returns the names of the engine that the roles compile for a target with such options."""
    pins = yaml.safe_load(DEFAULTS.read_text())
    source = {"kind": "pypi", "version": pins["llama_cpp_build_version"], "sha256": pins["llama_cpp_build_sha256"]}
    return build_plan(source, TARGETS[target].facts, options)


@contextmanager
def unpacked() -> Iterator[Path]:
    """Yields a folder with the engine, which may be changed."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(CACHE / plan_of(COMPILED, {})["artifact"]) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)


def pack_as(engine: Path, archive: Path, plan: Mapping[str, Any]) -> None:
    """Packs an unpacked engine under the names of a plan, and writes the archive's checksum beside it."""
    details = json.loads((engine / MANIFEST).read_text())
    del details["files"]
    pack(engine, ["bin/*"], archive, details | {key: plan[key] for key in ("id", "version", "platform", "options")})
    archive.with_name(f"{archive.name}.sha256").write_text(f"{sha256_of(archive)}\n")


def another(cache: Path, name: str, spoil: Callable[[Path], None] = lambda _programs: None) -> dict[str, Any]:
    """Makes another engine, and returns the variables with which site.yml installs it.

    :param cache: a folder for it on the controller.
    :param name: engines of different names are different to site.yml.
    :param spoil: changes the folder with its programs and libraries.
    """
    options = {"OF_TEST": name}
    plan = plan_of(COMPILED, options)
    with unpacked() as engine:
        spoil(engine / "bin")
        pack_as(engine, cache / plan["artifact"], plan)
    return {"llama_cpp_build_options": options, "llama_cpp_build_cache_dir": str(cache)}
