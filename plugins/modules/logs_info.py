#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: logs_info
short_description: Read a host's journals, units and report for a bug report
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the journals of the collection's units, their unit files and states, versions, the report, and configuration without
    keys.
  - The result contains names, addresses and parts of prompts. Set C(no_log) on the task, and pass the result to
    M(slm.copilot.logs_archive).
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  since:
    description: Start time, in the format of C(journalctl).
    type: str
    default: "-1 day"
  up_to:
    description: End time, in the format of C(journalctl).
    type: str
    default: now
  lines:
    description: Maximum number of lines per unit. The last ones are returned.
    type: int
    default: 5000
  config_dir:
    description: Directory of the configuration.
    type: path
    default: /etc/slm-copilot
seealso:
  - module: slm.copilot.logs_archive
"""

EXAMPLES = r"""
- name: Read the logs of the last hour
  slm.copilot.logs_info:
    since: -1 hour
  register: copilot_logs
  no_log: true
"""

RETURN = r"""
journals:
  description: The journal of each unit.
  returned: success
  type: dict
  sample: {slm-copilot.service: "2026-11-27T06:16:01+00:00 systemd[1]: Started slm-copilot.service."}
texts:
  description: Other texts, by name.
  returned: success
  type: dict
  sample: {versions: "systemd 252"}
names:
  description: Names and addresses of the host.
  returned: success
  type: list
  elements: str
  sample: [madrid-1, madrid-1.example.com]
"""

import socket
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

UNITS = "/etc/systemd/system"
# Of the folder for configuration. Anything else there may be a key.
CONFIGURATION = (
    "report.json",
    "router.json",
    "haproxy.cfg",
    "proxy/pool.json",
    "proxy/config.yaml",
    "tuning.json",
    "models.ini",
)
COMMANDS = {
    "versions": [
        ["uname", "--all"],
        ["cat", "/etc/os-release"],
        ["systemctl", "--version"],
        ["dpkg-query", "--show", "haproxy", "python3", "libc6", "openssl", "prometheus*"],
        ["ls", "-l", "/opt/slm-copilot"],
    ],
    "resources": [["lscpu"], ["free", "--mebi"], ["df", "--human-readable"], ["uptime"]],
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "since": {"type": "str", "default": "-1 day"},
            "up_to": {"type": "str", "default": "now"},
            "lines": {"type": "int", "default": 5000},
            "config_dir": {"type": "path", "default": "/etc/slm-copilot"},
        },
        supports_check_mode=True,
    )

    def run(*command: str) -> str:
        if not module.get_bin_path(command[0]):
            return ""
        return str(module.run_command(list(command), environ_update={"LC_ALL": "C", "SYSTEMD_COLORS": "0"})[1])

    files = [path for path in sorted(Path(UNITS).glob("slm-copilot*")) if path.is_file()]
    files += sorted(path for path in Path(UNITS).glob("*slm-copilot*.d/*") if path.is_file())
    units = [path.name for path in files if path.parent == Path(UNITS)]
    period = [f"--since={module.params['since']}", f"--until={module.params['up_to']}", f"--lines={module.params['lines']}"]
    journals = {}
    for unit in units:
        shape = ["--output=short-iso", "--no-hostname", "--no-pager", "--quiet"]
        code, out, error = module.run_command(["journalctl", f"--unit={unit}", *period, *shape], environ_update={"LC_ALL": "C"})
        if code:
            module.fail_json(msg=f"journalctl: {error.strip()}")
        journals[unit] = out
    texts = {name: "\n".join(run(*command) for command in commands) for name, commands in COMMANDS.items()}
    texts["status"] = run("systemctl", "status", "--no-pager", "--full", "--lines=0", *units) if units else ""
    for name in CONFIGURATION:
        path = Path(module.params["config_dir"]) / name
        if path.is_file():
            texts[f"configuration/{name}"] = path.read_text(encoding="utf-8", errors="replace")
    for path in files:
        texts[f"units/{path.relative_to(UNITS)}"] = path.read_text(encoding="utf-8", errors="replace")
    names = sorted({socket.gethostname(), socket.getfqdn()})
    module.exit_json(changed=False, journals=journals, texts=texts, names=names)


if __name__ == "__main__":
    main()
