# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packs the compiled engine of Debian 12 again, as one that was compiled with another option: second_engine.py ARCHIVE."""

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


def main(archive: Path) -> None:
    pins = yaml.safe_load(Path("roles/llama_cpp_build/defaults/main.yml").read_text())
    source = {"kind": "pypi", "version": pins["llama_cpp_build_version"], "sha256": pins["llama_cpp_build_sha256"]}
    facts = TARGETS["bookworm-amd64"].facts
    first, second = (build_plan(source, facts, options) for options in ({}, {"ANOTHER": "ON"}))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(CACHE / first["artifact"]) as tar:
            tar.extractall(folder, filter="data")
        details = json.loads(Path(folder, MANIFEST).read_text())
        del details["files"]
        pack(Path(folder), ["bin/*"], archive, details | {key: second[key] for key in ("id", "version", "options")})
    archive.with_name(f"{archive.name}.sha256").write_text(f"{sha256_of(archive)}\n")


main(Path(sys.argv[1]))
