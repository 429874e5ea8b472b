#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Install a version of a program from an archive, and make it the current one
version_added: 0.1.0
description:
  - Keeps versions of a program side by side in one directory, with a link C(current) to the active one.
  - A new version is unpacked beside the others, verified against the archive's SHA-256 and its own manifest, tested, and only
    then renamed. An interruption leaves the other versions unchanged.
  - An installed version becomes the current one without its archive. This is how to roll back.
options:
  prefix:
    description: Directory of the versions.
    type: path
    required: true
  version:
    description: Name of the version, which is also the name of its directory.
    type: str
    required: true
  archive:
    description: Path on the host of an archive of M(slm.copilot.release_archive). Required for a new version.
    type: path
  sha256:
    description: SHA-256 that the archive must have.
    type: str
  check_command:
    description:
      - A program, relative to the version's directory, and its arguments.
      - It must succeed before the version is accepted.
      - If the module runs as root, the command has no network access and no access to the host's sockets.
    type: list
    elements: str
    default: []
  check_user:
    description: Account that runs O(check_command), if the module itself runs as root. It needs no special permissions.
    type: str
    default: nobody
  keep:
    description: Number of versions to keep. The current and the previous one are always kept.
    type: int
    default: 2
  keep_named_in:
    description: Files, which need not exist. Versions whose names occur in them are kept, too.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Reports what would be done.
  diff_mode:
    support: full
    description: Shows the current version before and after.
  idempotent:
    support: full
    description: Does nothing if the version is installed and current.
seealso:
  - module: slm.copilot.release_info
  - module: slm.copilot.release_archive
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Install a version of the engine
  slm.copilot.release:
    prefix: /opt/slm-copilot/llama.cpp
    version: 0.3.36-1f2e3d4c
    archive: /var/cache/slm-copilot/engine.tar.gz
    sha256: "{{ artifact_sha256 }}"
    check_command: [bin/llama-server, --version]

- name: Roll back to the previous version
  slm.copilot.release:
    prefix: /opt/slm-copilot/llama.cpp
    version: 0.3.35-0a1b2c3d
"""

RETURN = r"""
current:
  description: The current version.
  returned: success
  type: str
  sample: 0.3.36-1f2e3d4c
previous:
  description: The version that was current before, or null.
  returned: success
  type: str
  sample: 0.3.35-0a1b2c3d
removed:
  description: Versions that were removed.
  returned: success
  type: list
  elements: str
  sample: []
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import describe, superfluous, switch, unpack


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "archive": {"type": "path"},
            "sha256": {"type": "str"},
            "check_command": {"type": "list", "elements": "str", "default": []},
            "check_user": {"type": "str", "default": "nobody"},
            "keep": {"type": "int", "default": 2},
            "keep_named_in": {"type": "list", "elements": "path", "default": []},
        },
        required_together=[("archive", "sha256")],
        supports_check_mode=True,
    )
    params = module.params
    prefix, version = Path(params["prefix"]), params["version"]
    before = describe(prefix)
    missing = version not in before["versions"]
    if missing and not params["archive"] and not module.check_mode:
        module.fail_json(
            msg=f"version {version} is not installed under {prefix}, and archive is not given: name the archive to "
            f"install it from, or one of the versions that are there ({', '.join(before['versions']) or 'none'})."
        )
    versions = [*before["versions"], version] if missing else before["versions"]
    named = "".join(path.read_text(encoding="utf-8") for path in map(Path, params["keep_named_in"]) if path.exists())
    removed = superfluous(versions, version, before["current"], params["keep"], named)
    if not module.check_mode:
        try:
            if missing:
                unpack(Path(params["archive"]), params["sha256"], prefix, version, params["check_command"], params["check_user"])
        except (CopilotError, OSError, KeyError) as error:
            module.fail_json(msg=str(error))
        if before["current"] != version:
            switch(prefix, version)
        for name in removed:
            shutil.rmtree(prefix / name)
    module.exit_json(
        changed=missing or before["current"] != version or bool(removed),
        current=version,
        previous=before["current"],
        removed=removed,
        diff={"before": f"{before['current'] or 'none'}\n", "after": f"{version}\n"},
    )


if __name__ == "__main__":
    main()
