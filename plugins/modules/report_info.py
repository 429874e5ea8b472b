#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: report_info
short_description: Read a host's report, and the current state of its services, backends and certificate
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the JSON report of the role C(report), and those parts of the state that may have changed since.
  - Missing files are not an error. No key is read.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  report_path:
    description: Path of the JSON report.
    type: path
    default: /etc/slm-copilot/report.json
  backends_path:
    description: File in which a balancer's router records the state of each backend.
    type: path
    default: /run/slm-copilot-proxy/state/state.json
  certificate_path:
    description: Certificate of the endpoint.
    type: path
    default: /etc/slm-copilot/server.pem
  files:
    description: Files whose changes are reported, as paths with wildcards.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Read the report and the current state of a host
  slm.copilot.report_info:
  register: copilot_report
"""

RETURN = r"""
report:
  description: The report. Empty if there is none. docs/report.schema.json describes it.
  returned: success
  type: dict
  sample:
    mode: standalone
    model: devstral-small-2
services:
  description: State of each unit in the report, as reported by systemd.
  returned: success
  type: dict
  sample:
    slm-copilot.service: active
backends:
  description: State of a balancer's backends.
  returned: success
  type: list
  elements: dict
  sample:
    - id: madrid-1
      zone: madrid
      health: ready
certificate_end:
  description: Expiry of the certificate. Empty if there is none.
  returned: success
  type: str
  sample: "2029-02-25T12:00:00Z"
files:
  description: A digest of each existing file of O(files), by name.
  returned: success
  type: dict
  sample:
    slm-copilot.service: 8b1c5e0d7a4f
"""

import glob
import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._server.report import (
    backends_of,
    certificate_end,
    file_digests,
    unit_states,
)


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "report_path": {"type": "path", "default": "/etc/slm-copilot/report.json"},
            "backends_path": {"type": "path", "default": "/run/slm-copilot-proxy/state/state.json"},
            "certificate_path": {"type": "path", "default": "/etc/slm-copilot/server.pem"},
            "files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        report = json.loads(read(module.params["report_path"]) or "{}")
    except ValueError:
        module.fail_json(msg=f"report_path: {module.params['report_path']} is not JSON; slm.copilot.site writes it again")
    units = report.get("units", [])
    services = module.run_command(["systemctl", "is-active", *units])[1] if units else ""
    end = ""
    if Path(module.params["certificate_path"]).is_file() and module.get_bin_path("openssl"):
        end = module.run_command(["openssl", "x509", "-noout", "-enddate", "-in", module.params["certificate_path"]])[1]
    module.exit_json(
        changed=False,
        report=report,
        services=unit_states(units, services),
        backends=backends_of(read(module.params["backends_path"])),
        certificate_end=certificate_end(end),
        files=file_digests({path: Path(path).read_bytes() for pattern in module.params["files"] for path in glob.glob(pattern)}),
    )


if __name__ == "__main__":
    main()
