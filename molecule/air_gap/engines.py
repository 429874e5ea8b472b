# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packs the engine of Debian 12 again: as that of Debian 13, where it runs, and as of another option. Usage: engines.py FOLDER"""

from __future__ import annotations

import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

_AnsibleCollectionFinder(paths=[os.environ["ANSIBLE_COLLECTIONS_PATH"]])._install()

from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import TARGETS
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import MANIFEST, pack

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slm-copilot/engine"
AS = {
    "trixie": ("trixie-amd64", {}),
    "second-bookworm": ("bookworm-amd64", {"ANOTHER": "ON"}),
    "second-trixie": ("trixie-amd64", {"ANOTHER": "ON"}),
}


def main(made: Path) -> None:
    pins = yaml.safe_load(Path("roles/llama_cpp_build/defaults/main.yml").read_text())
    source = {"kind": "pypi", "version": pins["llama_cpp_build_version"], "sha256": pins["llama_cpp_build_sha256"]}
    compiled = build_plan(source, TARGETS["bookworm-amd64"].facts, {})
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(CACHE / compiled["artifact"]) as tar:
            tar.extractall(folder, filter="data")
        details = json.loads(Path(folder, MANIFEST).read_text())
        del details["files"]
        for name, (target, options) in AS.items():
            plan = build_plan(source, TARGETS[target].facts, options)
            archive = made / f"{name}.tar.gz"
            pack(Path(folder), ["bin/*"], archive, details | {key: plan[key] for key in ("id", "version", "platform", "options")})
            archive.with_name(f"{archive.name}.sha256").write_text(f"{sha256_of(archive)}\n")


main(Path(sys.argv[1]))
