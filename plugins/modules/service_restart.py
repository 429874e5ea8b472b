#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: service_restart
short_description: Drain and restart a service without aborting requests, a few hosts at a time
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Makes the host's router stop assigning slots, waits until all in-flight requests have finished, runs O(script), and resumes.
    Meanwhile balancers choose other servers. If there are none, requests wait in the router's queue, which sends keep-alive
    comments.
  - At most O(batch) hosts of the play restart at the same time. If one of them fails, hosts that have not started yet are left
    unchanged and fail as well, with the reason.
  - A host whose O(unit) is not running has no requests. It waits neither for them nor for other hosts.
  - Restarts of one host do not overlap. If the playbook is killed, its job continues on the host, and the next run waits for it.
  - If this module is killed, the drain ends by itself after a minute.
options:
  unit:
    description: Systemd unit that O(script) restarts.
    type: str
    required: true
  script:
    description: Commands for C(/bin/sh -e). They must return when the service is ready, and fail if it does not become ready.
    type: str
    required: true
  router:
    description: Unix socket of the router to drain, if the host has one.
    type: path
  callers:
    description: A Unix socket. Each connection to it counts as an in-flight request, too.
    type: path
  first:
    description: Commands for C(/bin/sh -e) that run before the wait, and stop new connections to O(callers).
    type: str
  timeout:
    description:
      - Maximum time to wait for in-flight requests, in seconds. After that the task fails, and the host keeps running unchanged.
    type: int
    default: 900
  cut:
    description: Whether to continue after O(timeout) anyway, and abort the requests.
    type: bool
    default: false
  batch:
    description: Maximum number of hosts of the play at a time, as a number, or a percentage such as V(25%).
    type: str
    default: "1"
  progress_file:
    description: File to which the module writes its progress. Set by the action plugin.
    type: path
attributes:
  check_mode:
    support: full
    description: Reports that it would restart.
  diff_mode:
    support: none
    description: Changes no file.
  idempotent:
    support: none
    description: Restarts in every run.
"""

EXAMPLES = r"""
- name: Restart llama-server
  slm.copilot.service_restart:
    unit: slm-copilot.service
    script: systemctl restart slm-copilot.service
    router: /run/slm-copilot-router/router.sock
"""

RETURN = r"""
restarted:
  description: Whether O(script) ran.
  returned: always
  type: bool
waited_seconds:
  description: Time until no request was in flight, in seconds.
  returned: when O(script) was run
  type: float
cut:
  description: Number of aborted requests.
  returned: when O(script) was run
  type: int
said:
  description: The lines that O(script) printed. They are displayed if O(unit) was running before.
  returned: success
  type: list
  elements: str
"""

import time
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._host.interruption import RUNNING, run_command
from ansible_collections.slm.copilot.plugins.module_utils._server.draining import Drained, connections, drained
from ansible_collections.slm.copilot.plugins.module_utils._server.router import client

LOCK = "slm-copilot-restart.lock"
PATIENCE = 3600  # seconds to wait for the restart of an earlier run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "script": {"type": "str", "required": True},
            "router": {"type": "path"},
            "callers": {"type": "path"},
            "first": {"type": "str"},
            "timeout": {"type": "int", "default": 900},
            "cut": {"type": "bool", "default": False},
            "batch": {"type": "str", "default": "1"},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        module.exit_json(changed=True, restarted=False)
    progress = ProgressFile(params["progress_file"])

    def tell(number: int) -> None:
        progress.update("waiting for in-flight requests", number, None, "answers")

    def wait() -> None:
        progress.update("waiting for the restart of an earlier run", 0, None, "answers")

    def run(script: str, **result: Any) -> list[str]:
        status, out, errors = module.run_command(["/bin/sh", "-e", "-c", script], pass_fds=list(lock), environ_update=since)
        if status:
            said = (errors or out).strip()[-2000:] or f"{params['unit']} does not restart (status {status})"
            module.fail_json(msg=said, stderr=errors, **result)
        return list(out.splitlines())

    def restart(found: Drained) -> list[str]:
        progress.update("restarting", 0, None, "answers")
        return run(params["script"], restarted=True, waited_seconds=found.seconds, cut=found.cut)

    found = Drained()
    since = {"COPILOT_RESTART_SINCE": str(time.time())}  # engine_switch.py finds out what happened while this waited
    try:
        with locked("/run", PATIENCE, file=LOCK, waits=wait) as lock:
            if run_command(["systemctl", "is-active", params["unit"]])[1] in RUNNING:
                if params["first"]:
                    run(params["first"], restarted=False)
                ask = client(params["router"], {"X-Copilot-Role": "admin"}) if params["router"] else None
                callers = partial(connections, params["callers"]) if params["callers"] else int
                with drained(ask, params["timeout"], cut=params["cut"], tell=tell, callers=callers) as found:
                    said = restart(found)
            else:
                said = restart(found)
    except CopilotError as error:
        module.fail_json(msg=str(error), restarted=False)
    module.exit_json(changed=True, restarted=True, waited_seconds=round(found.seconds, 1), cut=found.cut, said=said)


if __name__ == "__main__":
    main()
