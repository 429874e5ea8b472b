#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_info
short_description: Verify a bundle and tell what is in it
version_added: 0.1.0
description:
  - Verifies the signature of a bundle, before it reads anything else of it, and holds the folder against its manifest.
  - Names every file that is missing, was cut, was changed or is not listed. For a file in parts it names the part.
options:
  path:
    description: Folder of the bundle.
    type: path
    required: true
  key:
    description: Public SSH key of whoever made it.
    type: path
    required: true
  targets:
    description: The content of what these kinds of hosts need is verified, too. Empty means that no content is read.
    type: list
    elements: str
    default: []
  archives:
    description:
      - Folder in which an archive with the packages and wheels is written for each target, to be copied to hosts.
      - Each file is verified while it is packed.
    type: path
  host_path:
    description: Where hosts unpack these archives.
    type: path
attributes:
  check_mode:
    support: full
    description: Runs the same in check mode.
  diff_mode:
    support: none
    description: Changes nothing on hosts.
  idempotent:
    support: full
    description: Changes nothing on hosts.
extends_documentation_fragment:
  - slm.copilot.long_job
seealso:
  - module: slm.copilot.bundle
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Verify a bundle
  slm.copilot.bundle_info:
    path: /media/usb/bundle
    key: ~/bundle.pub
    targets: [bookworm-amd64]
  register: bundle
"""

RETURN = r"""
targets:
  description: Kinds of hosts that it is for.
  returned: success
  type: list
  elements: str
  sample: [bookworm-amd64]
models:
  description: The models in it, as entries of a catalogue.
  returned: success
  type: dict
sha256:
  description: Checksum of its manifest.
  returned: success
  type: str
  sample: 4a0b3c...
product:
  description: Name and version of the collection in it.
  returned: success
  type: dict
kinds:
  description: Number of files and of bytes for each kind of file.
  returned: success
  type: dict
"""

import hashlib
import tarfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._bundle import collect, manifest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import replaced
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile

# apt takes everything from there while APT_CONFIG names this file. The host's own sources and lists are not touched.
APT_CONF = """Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "{0}/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
"""
SOURCE = "deb [signed-by={0}/debs/key.asc] file:{0}/debs ./\n"


def pack(folder: Path, content: dict[str, Any], target: str, archive: Path, host_path: str) -> None:
    """Writes packages and wheels of a target into one archive, as hosts unpack it."""
    with replaced(archive, 0o600) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for one in sorted(manifest.for_target(content, target), key=lambda one: str(one["path"])):
            if one["kind"] not in ("deb", "index", "wheel"):
                continue
            read = (folder / one["path"]).read_bytes()
            if hashlib.sha256(read).hexdigest() != one["sha256"]:
                raise CopilotError(f"{one['path']} is damaged: copy it again.")
            collect.add(tar, one["path"].replace(f"debs/{target}/", "debs/"), read)
        collect.add(tar, "apt.conf", APT_CONF.format(host_path).encode())
        collect.add(tar, "sources.list", SOURCE.format(host_path).encode())


def look(params: dict[str, Any], progress: ProgressFile) -> dict[str, Any]:
    folder = Path(params["path"])
    content = manifest.read(folder, params["key"])
    manifest.require_whole(manifest.problems(folder, content), folder)
    targets = sorted(set(params["targets"]))
    if foreign := sorted(set(targets) - content["targets"].keys()):
        raise CopilotError(
            f"The bundle {folder} is for {', '.join(sorted(content['targets']))}, and not for {', '.join(foreign)}. "
            "Nothing was changed. Take those hosts out of the inventory, or make a bundle for them (bundle_targets)."
        )
    if targets:
        files = {one["path"]: one for target in targets for one in manifest.for_target(content, target)}

        def watch(done: int, total: int) -> None:
            progress.update("verifying", done, total, "bytes")

        manifest.require_whole(manifest.damaged(folder, files.values(), watch), folder)
    if params["archives"]:
        for target in targets:
            pack(folder, content, target, Path(params["archives"]) / f"{target}.tar", params["host_path"])
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
        "kinds": kinds,
        "sha256": hashlib.sha256((folder / manifest.NAME).read_bytes()).hexdigest(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "targets": {"type": "list", "elements": "str", "default": []},
            "archives": {"type": "path"},
            "host_path": {"type": "path"},
            "progress_file": {"type": "path"},
        },
        required_together=[("archives", "host_path")],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**look(module.params, ProgressFile(module.params["progress_file"])))
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
