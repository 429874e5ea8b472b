#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_prune
short_description: Remove models that are no longer used
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Removes model files that M(slm.copilot.model_download) downloaded and that are neither used nor named in the configuration of
    a service, together with their records and with abandoned downloads.
  - Does not touch files from other sources, and files that are being downloaded.
attributes:
  check_mode:
    support: full
    description: Reports what would be removed.
  diff_mode:
    support: none
    description: The result names all files.
options:
  path:
    description: Directory of the models. A missing directory is not an error.
    type: path
    required: true
  used:
    description: Paths of the models to keep.
    type: list
    elements: path
    required: true
  configuration:
    description: Configuration files of services. Models that are named there are kept. Missing files are ignored.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Remove the models that this host no longer serves
  slm.copilot.model_prune:
    path: /var/lib/slm-copilot/models
    used: [/var/lib/slm-copilot/models/codestral-22b.gguf]
    configuration: [/etc/systemd/system/slm-copilot.service]
"""

RETURN = r"""
removed:
  description: Files that were removed, or would be in check mode.
  returned: success
  type: list
  elements: path
kept:
  description: Unused models that are kept, with the reason.
  returned: success
  type: dict
  sample: {/var/lib/slm-copilot/models/own.gguf: it was not fetched by us}
freed_mib:
  description: Size of the removed files in MiB.
  returned: success
  type: int
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._host import removal


@contextlib.contextmanager
def locked(path: str) -> Iterator[bool]:
    """Takes the lock of a download, and yields whether it was free."""
    if not os.path.exists(path):
        yield True
        return
    with open(path, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def prune(folder: str, used: list[str], configuration: list[str], change: bool) -> tuple[list[str], dict[str, str], int]:
    """Returns the removed files, the kept ones with the reason, and the freed bytes.

    :raises OSError: when a file cannot be read or removed.
    """
    named = "".join(Path(path).read_text(errors="replace") for path in configuration if os.path.exists(path))
    removed, kept, freed = [], {}, 0
    by_model: dict[str, list[str]] = {}
    for path in removal.unused(folder, used):
        model = next((path.removesuffix(one) for one in removal.DOWNLOAD_ENDINGS if path.endswith(one)), path)
        by_model.setdefault(model, []).append(path)
    for model, paths in by_model.items():
        if model in named:
            kept[model] = "a service still names it: run site.yml"
            continue
        with locked(f"{model}.lock") as mine:
            if not mine:
                kept[model] = "it is being fetched"
                continue
            for path in paths:
                size = os.lstat(path).st_size
                if change:
                    os.unlink(path)
                removed.append(path)
                freed += size
    strangers = {str(path) for path in Path(folder).glob("*.gguf")} - set(removed) - set(kept) - set(used)
    return removed, kept | {path: "it was not fetched by us" for path in sorted(strangers)}, freed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "used": {"type": "list", "elements": "path", "required": True},
            "configuration": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        removed, kept, freed = prune(params["path"], params["used"], params["configuration"], not module.check_mode)
    except OSError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed), removed=removed, kept=kept, freed_mib=freed >> 20)


if __name__ == "__main__":
    main()
