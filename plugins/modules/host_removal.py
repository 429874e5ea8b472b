#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_removal
short_description: Remove everything that was installed on a host
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Stops the services, and removes the units, programs, configuration, accounts and packages that the roles installed.
  - Removes what the record of M(slm.copilot.files) lists, and files that only these roles write. Packages and accounts that
    existed before are kept, and so are files that somebody changed since. On a host that was set up before there were records,
    all packages are kept.
  - Models, keys and certificates are kept unless O(purge) names them. Nothing changes on the controller.
options:
  record:
    description: Path of the record of what was installed.
    type: path
    required: true
  install_dir:
    description: Directory of the programs.
    type: path
    required: true
  config_dir:
    description: Directory of configuration, keys and certificates.
    type: path
    required: true
  data_dir:
    description: Directory with the models in C(models/).
    type: path
    required: true
  work_dir:
    description: Build directory.
    type: path
    required: true
  purge:
    description: What to remove in addition.
    type: str
    choices: [none, models, keys, all]
    default: none
attributes:
  check_mode:
    support: full
    description: Lists what would be removed.
  diff_mode:
    support: none
    description: There is no content to show.
  idempotent:
    support: full
    description: Removes nothing a second time. A partial installation is removed as well.
"""

EXAMPLES = r"""
- name: Remove the copilot from this host
  slm.copilot.host_removal:
    record: /etc/slm-copilot/installed.json
    install_dir: /opt/slm-copilot
    config_dir: /etc/slm-copilot
    data_dir: /var/lib/slm-copilot
    work_dir: /var/cache/slm-copilot
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode, such as units, files, directories, packages and accounts.
  returned: success
  type: list
  elements: str
  sample: [/opt/slm-copilot/llama.cpp, package haproxy, account slm-copilot-router]
kept:
  description: What was installed and is kept, with the reason.
  returned: success
  type: dict
  sample:
    /var/lib/slm-copilot/models: the models, which go with -e purge=models
"""

import os
import shutil
from functools import partial
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host import installation, installed, removal
from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import look
from ansible_collections.slm.copilot.plugins.module_utils._server.draining import connections, drained

ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
ANSWER_SECONDS = 900  # maximum time for in-flight requests
FOLDERS = ("install", "config", "data", "work")


def remove(module: AnsibleModule) -> tuple[list[str], dict[str, str]]:
    """Returns what was removed, and what is kept with the reason."""

    def run(*command: str) -> str:
        return str(module.run_command(list(command), check_rc=True, environ_update=ENVIRONMENT)[1])

    record_path, change = module.params["record"], not module.check_mode
    places = removal.Places(**{name: module.params[f"{name}_dir"] for name in FOLDERS})
    recorded = installed.read(record_path)
    record = recorded or installation.record_of(record_path)
    before = record.packages if recorded else None
    units = [str(path) for pattern in removal.UNITS for path in sorted(Path(removal.UNIT_FOLDER).glob(pattern))]
    made = removal.plan(record, places, module.params["purge"], look, units)
    removed: list[str] = []
    names = removal.stop_order(os.path.basename(path) for path in units)
    if names and change:
        for name in names:
            run("systemctl", "stop", name)
            if name == removal.OUTLIVED:
                with drained(None, ANSWER_SECONDS, cut=True, tell=bool, callers=partial(connections, removal.OUTLIVED_SOCKET)):
                    module.run_command(["systemctl", "kill", "--signal=KILL", name])
        run("systemctl", "disable", *names)

    packages: list[str] = []
    if before is not None:
        there = set(installation.packages()) - set(before)
        ours = [name for name in removal.PACKAGES if name in there]
        if ours:
            packages = removal.removable(ours, run(*removal.SIMULATE, *ours), before)
    if packages and change:
        run("apt-get", "--yes", "--quiet", "purge", *packages)
    marks = removal.marks(record.automatic, installation.automatic(), set(installation.packages()) - set(packages))
    if marks and change:  # who installs a package that is there already has it marked as wanted
        run("apt-mark", "auto", *marks)
    for path in made.files:
        removed.append(path)
        if change:
            Path(path).unlink(missing_ok=True)
    for path in made.trees:
        removed.append(path)
        if change:
            shutil.rmtree(path)
    if change and removal.JOURNAL in made.files:
        run("systemctl", "restart", "systemd-journald.service")
    if change and units:
        for unit in units:
            shutil.rmtree(unit + ".d", ignore_errors=True)
        run("systemctl", "daemon-reload")
    removed += [f"package {name}" for name in packages]

    # The record stays as long as there is something that a later run may remove.
    if change and not [path for path in made.kept if path.startswith(f"{places.config}/") or path.startswith(f"{places.data}/")]:
        if recorded:
            removed.append(record_path)
        Path(record_path).unlink(missing_ok=True)
    elif change and recorded:
        record.paths = {path: value for path, value in record.paths.items() if look(path).kind != "absent"}
        installed.write(record_path, record)
    for path in made.folders:
        if change and os.path.isdir(path) and not os.listdir(path):
            os.rmdir(path)
            removed.append(path)
    stay = [*made.kept, *(path for path in made.folders if any(kept.startswith(f"{path}/") for kept in made.kept))]
    owners = installation.owners(stay + [path for path in made.folders if change and os.path.isdir(path)])
    for name in removal.accounts(installation.accounts(), record.accounts, owners) if recorded or units or made.files else []:
        removed.append(f"account {name}")
        if change:
            module.run_command(["userdel", name])
            module.run_command(["groupdel", name])
    return removed, made.kept


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "record": {"type": "path", "required": True},
            **{f"{name}_dir": {"type": "path", "required": True} for name in FOLDERS},
            "purge": {"type": "str", "choices": list(removal.PURGES), "default": "none"},
        },
        supports_check_mode=True,
    )
    try:
        removed, kept = remove(module)
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
