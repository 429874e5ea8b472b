#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_info
short_description: Verify a bundle and list its contents
version_added: 0.1.0
description:
  - Verifies the signature of a bundle before it reads anything else, and compares the folder with the manifest.
  - Reports every file that is missing, truncated, changed or not listed. For a file in parts it reports the part.
options:
  targets:
    description:
      - Platforms whose files are read and verified. By default all files are.
      - Engines are always verified, since hosts get them directly from the bundle.
    type: list
    elements: str
extends_documentation_fragment:
  - slm.copilot.bundle
  - slm.copilot.long_job
  - slm.copilot.read_only
seealso:
  - module: slm.copilot.bundle
  - module: slm.copilot.bundle_archive
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Verify a bundle
  slm.copilot.bundle_info:
    path: /media/usb/bundle
    key: ~/bundle.pub
  register: bundle
"""

RETURN = r"""
targets:
  description: Platforms that the bundle supports.
  returned: success
  type: list
  elements: str
  sample: [bookworm-amd64]
models:
  description: The models in the bundle, as catalogue entries.
  returned: success
  type: dict
  sample:
    devstral-small-2:
      src: /media/usb/bundle/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
      licence: Apache-2.0
engines:
  description: Names of the engines in the bundle.
  returned: success
  type: list
  elements: str
  sample: [llama.cpp-0.3.36-debian-12-x86_64-1f2e3d4c5b6a7988.tar.gz]
needs:
  description: >-
    Disk space that a host of each platform needs at most, in bytes. C(work) is for the packages and wheels while they are copied,
    C(system) for installed packages, C(programs) for venvs and the engine.
  returned: success
  type: dict
  sample:
    bookworm-amd64: {work: 291000000, system: 158000000, programs: 380000000}
sha256:
  description: SHA-256 of the manifest.
  returned: success
  type: str
  sample: 4a0b3c...
product:
  description: Name and version of the collection in the bundle.
  returned: success
  type: dict
  sample:
    name: slm.copilot
    version: 0.1.0
kinds:
  description: Number of files and bytes by type of file.
  returned: success
  type: dict
  sample:
    wheel:
      files: 91
      bytes: 104000000
"""

import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._bundle import manifest
from ansible_collections.slm.copilot.plugins.module_utils._bundle.room import needs_of
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile


def look(params: dict[str, Any], progress: ProgressFile) -> dict[str, Any]:
    folder = Path(params["path"])
    content = manifest.read(folder, params["key"])
    manifest.require_whole(manifest.problems(folder, content), folder)
    targets = sorted(content["targets"] if params["targets"] is None else params["targets"])
    manifest.require_target(content, folder, targets)
    engines = [one for one in content["files"] if one["kind"] == "engine"]
    files = {one["path"]: one for one in engines} | {
        one["path"]: one for target in targets for one in manifest.for_target(content, target)
    }

    def watch(done: int, total: int) -> None:
        progress.update("verifying", done, total, "bytes")

    manifest.require_whole(manifest.damaged(folder, files.values(), watch), folder)
    kinds: dict[str, dict[str, int]] = {}
    for one in content["files"]:
        kind = kinds.setdefault(one["kind"], {"files": 0, "bytes": 0})
        kind["files"] += 1
        kind["bytes"] += one["size"]
    whole = {one["path"]: one["sha256"] for one in content["files"]}
    return {
        "changed": False,
        "product": content["product"],
        "targets": sorted(content["targets"]),
        "models": {
            name: {key: value for key, value in entry.items() if key != "file"}
            | {"src": str(folder / entry["file"]), "sha256": whole[entry["file"]]}
            for name, entry in content["models"].items()
        },
        "engines": [Path(one["path"]).name for one in engines if not one["path"].endswith(".sha256")],
        "needs": {target: needs_of(manifest.for_target(content, target)) for target in content["targets"]},
        "kinds": kinds,
        "sha256": hashlib.sha256((folder / manifest.NAME).read_bytes()).hexdigest(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "targets": {"type": "list", "elements": "str"},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**look(module.params, ProgressFile(module.params["progress_file"])))
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
