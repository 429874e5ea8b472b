#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: service_restart
short_description: Restart a service and cut no answer, one host after the other
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Has the host's router give out no slots, waits until all answers that are under way have ended, runs O(script), and lets
    requests in again. Balancers choose other servers meanwhile; where there is none, requests wait in the router, which keeps
    them alive.
  - Of the hosts of a play, O(batch) are at it at the same time. When one of them fails, those that have not begun are left
    alone and fail as well, and say so.
  - A host whose O(unit) does not run serves nobody. It waits for nothing, and for no other host.
  - The drain ends by itself after a minute, if this module is killed.
options:
  unit:
    description: The systemd unit that O(script) restarts.
    type: str
    required: true
  script:
    description: What to run, by C(/bin/sh -e). It is to return when the service serves, and to fail when it does not.
    type: str
    required: true
  router:
    description: The router's socket, where the host has one that is to give out no slots meanwhile.
    type: path
  callers:
    description: A Unix socket. Each connection to it counts as an answer that is under way, too.
    type: path
  first:
    description: What to run before it waits, by C(/bin/sh -e), so that nobody new comes to O(callers).
    type: str
  timeout:
    description: How long answers may take to end, in seconds. Then the task fails, and the host goes on as it was.
    type: int
    default: 900
  cut:
    description: Whether to go on after O(timeout) nevertheless, and cut the answers.
    type: bool
    default: false
  batch:
    description: How many hosts of the play at a time, as a number, or as a percentage such as V(25%).
    type: str
    default: "1"
  progress_file:
    description: Where to note how far it is. Set by the action plugin.
    type: path
attributes:
  check_mode:
    support: full
    description: Says that it would restart, and does nothing.
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
  description: Whether O(script) was run.
  returned: always
  type: bool
waited_seconds:
  description: How long it took until no answer was under way, in seconds.
  returned: when O(script) was run
  type: float
cut:
  description: How many answers were cut.
  returned: when O(script) was run
  type: int
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._host.interruption import RUNNING, run_command
from ansible_collections.slm.copilot.plugins.module_utils._server.draining import Drained, connections, drained
from ansible_collections.slm.copilot.plugins.module_utils._server.router import client


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
        progress.update("waiting for answers that are under way", number, None, "answers")

    def run(script: str, **result: Any) -> None:
        status, out, errors = module.run_command(["/bin/sh", "-e", "-c", script])
        if status:
            said = (errors or out).strip()[-2000:] or f"{params['unit']} does not restart (status {status})"
            module.fail_json(msg=said, stderr=errors, **result)

    def restart(found: Drained) -> None:
        progress.update("restarting", 0, None, "answers")
        run(params["script"], restarted=True, waited_seconds=found.seconds, cut=found.cut)

    found = Drained()
    try:
        if run_command(["systemctl", "is-active", params["unit"]])[1] in RUNNING:
            if params["first"]:
                run(params["first"], restarted=False)
            ask = client(params["router"], {"X-Copilot-Role": "admin"}) if params["router"] else None
            callers = partial(connections, params["callers"]) if params["callers"] else int
            with drained(ask, params["timeout"], cut=params["cut"], tell=tell, callers=callers) as found:
                restart(found)
        else:
            restart(found)
    except CopilotError as error:
        module.fail_json(msg=str(error), restarted=False)
    module.exit_json(changed=True, restarted=True, waited_seconds=round(found.seconds, 1), cut=found.cut)


if __name__ == "__main__":
    main()
