#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_archive
short_description: Pack compiled programs into an archive with a manifest of checksums
version_added: 0.1.0
description:
  - Packs files of a directory into a C(tar.gz) archive with a C(manifest.json), which contains the SHA-256 of each file.
  - The same files produce an identical archive.
options:
  directory:
    description: Directory of the files. It may belong to an untrusted account; links are not followed.
    type: path
    required: true
  patterns:
    description: Glob patterns relative to O(directory). Each must match at least one file.
    type: list
    elements: str
    required: true
  archive:
    description:
      - Path of the archive.
      - Only the account that runs the module may have write access to its directory, so that the hashed files are the packed
        ones.
    type: path
    required: true
  details:
    description: Additional fields of the manifest, such as the source and the compile options.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Writes nothing in check mode.
  diff_mode:
    support: none
    description: An archive has no diff.
  idempotent:
    support: full
    description: An existing archive with the same content is not changed.
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Pack the engine
  slm.copilot.release_archive:
    directory: /var/cache/slm-copilot/build
    patterns: [bin/llama-server, bin/*.so*]
    archive: /var/cache/slm-copilot/engine.tar.gz
    details:
      version: 0.3.36
"""

RETURN = r"""
archive:
  description: Path of the archive.
  returned: success
  type: str
  sample: /var/cache/slm-copilot/engine.tar.gz
sha256:
  description: SHA-256 of the archive.
  returned: success and not check mode
  type: str
  sample: 4a0b3c...
size:
  description: Size of the archive in bytes.
  returned: success and not check mode
  type: int
  sample: 11534336
manifest:
  description: The manifest.
  returned: success and not check mode
  type: dict
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import require_own, sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import pack


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "patterns": {"type": "list", "elements": "str", "required": True},
            "archive": {"type": "path", "required": True},
            "details": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    archive = Path(module.params["archive"])
    if module.check_mode:
        module.exit_json(changed=not archive.exists(), archive=str(archive))
    try:
        require_own(archive.parent, "archive")
        before = sha256_of(archive) if archive.exists() else None
        manifest = pack(Path(module.params["directory"]), module.params["patterns"], archive, module.params["details"])
        sha256 = sha256_of(archive)
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=sha256 != before,
        archive=str(archive),
        sha256=sha256,
        size=archive.stat().st_size,
        manifest=manifest,
    )


if __name__ == "__main__":
    main()
