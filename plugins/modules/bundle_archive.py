#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_archive
short_description: Pack the files of a bundle that hosts of one platform need
version_added: 0.1.0
description:
  - Writes the Debian packages and wheels of a bundle to one archive, with an apt configuration for them.
  - Verifies the signature of the bundle first, and each file as it is packed.
extends_documentation_fragment:
  - slm.copilot.bundle
options:
  target:
    description: Platform of the hosts, such as V(bookworm-amd64).
    type: str
    required: true
  dest:
    description: Path of the archive. Its directory is created if needed.
    type: path
    required: true
  host_path:
    description: Directory into which hosts unpack the archive.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: none
    description: An archive has no diff.
  idempotent:
    support: full
    description: The same bundle produces an identical archive.
seealso:
  - module: slm.copilot.bundle
  - module: slm.copilot.bundle_info
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Pack the files for hosts with Debian 12 on amd64
  slm.copilot.bundle_archive:
    path: /media/usb/bundle
    key: ~/bundle.pub
    target: bookworm-amd64
    dest: ~/.cache/slm-copilot/bookworm-amd64.tar
    host_path: /var/cache/slm-copilot/bundle
"""

RETURN = r"""
path:
  description: Path of the archive.
  returned: success
  type: str
  sample: /root/.cache/slm-copilot/bookworm-amd64.tar
files:
  description: Number of files of the bundle in the archive.
  returned: success
  type: int
  sample: 199
"""

import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._bundle import collect, manifest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import replaced, sha256_of, sha256_of_stream

# apt takes everything from there while APT_CONFIG names this file. The host's own sources and lists are not touched.
APT_CONF = """Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "{0}/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
"""
SOURCE = "deb [signed-by={0}/debs/key.asc] file:{0}/debs ./\n"


def pack(folder: Path, files: list[dict[str, Any]], target: str, host_path: str, archive: IO[bytes]) -> None:
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for one in sorted(files, key=lambda one: str(one["path"])):
            content = (folder / one["path"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != one["sha256"]:
                raise CopilotError(f"{one['path']} is damaged: copy it again.")
            collect.add(tar, one["path"].replace(f"debs/{target}/", "debs/"), content)
        collect.add(tar, "apt.conf", APT_CONF.format(host_path).encode())
        collect.add(tar, "sources.list", SOURCE.format(host_path).encode())
    archive.seek(0)


def write(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    folder, dest, target = Path(params["path"]), Path(params["dest"]), params["target"]
    content = manifest.read(folder, params["key"])
    manifest.require_target(content, folder, [target])
    files = [one for one in manifest.for_target(content, target) if one["kind"] in manifest.ON_HOSTS]
    with tempfile.TemporaryFile() as made:
        pack(folder, files, target, params["host_path"], made)
        changed = not dest.is_file() or sha256_of(dest) != sha256_of_stream(made)
        if changed and not check_mode:
            dest.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made.seek(0)
            with replaced(dest, 0o600) as file:
                shutil.copyfileobj(made, file)
    return {"changed": changed, "path": str(dest), "files": len(files)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "target": {"type": "str", "required": True},
            "dest": {"type": "path", "required": True},
            "host_path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**write(module.params, module.check_mode))
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"dest: {module.params['dest']} was not written: {error}. Fix that, and run again.")


if __name__ == "__main__":
    main()
