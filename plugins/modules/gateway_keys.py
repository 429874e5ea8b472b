#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_keys
short_description: Manage the keys that a running gateway accepts
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Writes the key map that HAProxy reads when it starts, and updates the keys in every running HAProxy process, including old
    ones that are still finishing after a reload. It then verifies the result.
  - The map also lists administrators by name, so that client certificates that replace a key have the right role.
  - A revoked key fails at once, even on open connections, and a new key works at once. Nothing is reloaded or restarted, and no
    in-flight request is aborted.
  - If HAProxy does not run, only the file is written.
options:
  path:
    description:
      - Path of the key map, as in HAProxy's configuration.
      - Its owner is root and its mode is 0640.
    type: path
    required: true
  keys:
    description: All accepted keys. Any other key is revoked.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the key's owner, 1 to 64 letters, digits, C(.), C(_), C(@), C(+) or C(-).
          - The gateway passes this name to the service behind it.
          - An owner may have more than one key.
        type: str
        required: true
      role:
        description: Role of the key.
        type: str
        required: true
        choices: [developer, admin, balancer, monitor]
      sha256:
        description: SHA-256 of the key, in lower-case hexadecimal digits. It never appears in results, logs or diffs.
        type: str
        required: true
      expires:
        description: Time at which the key expires, in seconds since 1970. V(0) means never.
        type: int
        default: 0
  group:
    description: Group of the file, the one that HAProxy runs as.
    type: str
    default: root
  socket:
    description: Unix socket of HAProxy's master process (C(haproxy -S)).
    type: path
    default: /run/slm-copilot-gateway/master.sock
attributes:
  check_mode:
    support: full
    description: Compares the keys, and changes nothing.
  diff_mode:
    support: full
    description: Shows names, roles and expiry times, never hashes.
  idempotent:
    support: full
    description: Compares both the file and the keys in each process.
seealso:
  - module: slm.copilot.api_key
"""

EXAMPLES = r"""
- name: Accept the keys of two developers and of the fleet's balancers
  slm.copilot.gateway_keys:
    path: /etc/slm-copilot/keys.map
    group: slm-copilot-gateway
    keys:
      - name: alice
        role: admin
        sha256: "{{ alice_key | hash('sha256') }}"
      - name: bob
        role: developer
        sha256: "{{ bob_key | hash('sha256') }}"
        expires: 1798761599
      - name: balancer
        role: balancer
        sha256: "{{ backend_key | hash('sha256') }}"
"""

RETURN = r"""
path:
  description: Path of the file.
  returned: success
  type: str
  sample: /etc/slm-copilot/keys.map
file_changed:
  description: Whether the file was changed, or would be in check mode.
  returned: success
  type: bool
  sample: true
workers:
  description: Process IDs of the HAProxy workers that have the keys. Empty if HAProxy does not run.
  returned: success
  type: list
  elements: int
  sample: [1201, 1187]
changed_workers:
  description: Process IDs of the workers whose keys changed.
  returned: success
  type: list
  elements: int
  sample: [1201, 1187]
"""

import os
import socket
import time
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._access.gateway_map import (
    Pair,
    Worker,
    answer_in,
    described,
    keys_of,
    pairs_of,
    parse,
    render,
    settle,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import Wanted, apply, differences, look, problem

ANSWER_SECONDS = 20  # for one answer; a process that computes nothing but TLS needs thousandths
RELOAD_SECONDS = 60  # while HAProxy reloads, nothing answers
START_SECONDS = 5


class Master:
    """The master process of HAProxy, which forwards commands to the workers."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.connect(path)
        self.ask("prompt")  # from here on, a prompt marks the end of an answer

    def __enter__(self) -> Master:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def ask(self, command: str) -> str:
        """Raises ConnectionError if HAProxy exits or reloads, TimeoutError if it does not answer."""
        self._socket.sendall(f"{command}\n".encode())
        received = bytearray()
        while True:
            if not (piece := self._socket.recv(1 << 16)):
                raise ConnectionResetError
            received += piece
            if piece.endswith(b"> ") and (answer := answer_in(received.decode(errors="replace"))) is not None:
                return answer


def in_all_workers(path: str, map_path: str, wanted: list[Pair], change: bool) -> list[Worker]:
    """Updates the keys of the running workers. If HAProxy does not run, there are none.

    A connection that holds sees all workers: the master process makes new ones only when it begins anew, and then it is cut.
    """
    end = time.monotonic() + RELOAD_SECONDS
    start_end = time.monotonic() + START_SECONDS
    while True:
        try:
            with Master(path) as master:
                return settle(master.ask, map_path, wanted, change)
        except TimeoutError:
            raise CopilotError(
                f"socket: HAProxy did not answer on {path} for {ANSWER_SECONDS} s, so a revoked key may still "
                "work. The file has the new keys: restart the gateway's service, or run this again"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError):
            # The folder is there as long as the service is: one that starts just now may have read the file before.
            if not os.path.isdir(os.path.dirname(path)) or time.monotonic() > start_end:
                return []
        except ConnectionError:
            if time.monotonic() > end:
                raise CopilotError(f"socket: HAProxy kept closing the connection on {path}; see the service's journal") from None
        time.sleep(0.2)


class KeysModule(AnsibleModule):
    """A module that logs no keys. Ansible's own log would have to mask thousands."""

    def _log_invocation(self) -> None:
        self.log(f"Invoked with path={self.params['path']} and {len(self.params['keys'])} keys")


def main() -> None:
    module = KeysModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keys": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "no_log": False,  # names are no secrets, the hashes below are
                "options": {
                    "name": {"type": "str", "required": True},
                    "role": {"type": "str", "required": True, "choices": ["developer", "admin", "balancer", "monitor"]},
                    "sha256": {"type": "str", "required": True, "no_log": True},
                    "expires": {"type": "int", "default": 0},
                },
            },
            "group": {"type": "str", "default": "root"},
            "socket": {"type": "path", "default": "/run/slm-copilot-gateway/master.sock"},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    invocation = {"module_args": {**module.params, "keys": f"{len(module.params['keys'])} keys"}}
    # What is shown is made of names alone, and to look for thousands of hashes in it takes seconds.
    module.no_log_values = set()

    def fail(message: str, **result: Any) -> NoReturn:
        module.fail_json(msg=message, path=path, invocation=invocation, **result)

    file_changed = False
    try:
        pairs = pairs_of(keys_of(module.params["keys"]))
        want = Wanted(path, "file", render(pairs), group=module.params["group"], mode=0o640, owner="root")
        present = look(path)
        differing = differences(present, want)
        if differing and (trouble := problem(present, want)):
            fail(trouble)
        if differing and not module.check_mode:
            apply(want, present, differing, lambda _path: None)
        file_changed = bool(differing)
        workers = in_all_workers(module.params["socket"], path, pairs, not module.check_mode)
    except (CopilotError, OSError) as error:
        fail(str(error), changed=file_changed and not module.check_mode)
    changed_workers = [worker for worker in workers if worker.before is not None and worker.before != sorted(pairs)]
    if strangers := [worker.pid for worker in workers if worker.before is None]:
        module.warn(
            f"HAProxy's processes {', '.join(map(str, strangers))} have no map {path}, because their configuration differs. They "
            "get these keys when the service is reloaded."
        )

    diff = []
    if differing:
        before = parse(present.content) if present.kind == "file" else []
        attributes = [
            f"{one.owner}:{one.group} {one.mode or 0:04o}\n" if {"owner", "group", "mode"} & set(differing) else ""
            for one in (present, want)
        ]
        diff.append(
            {
                "before_header": path,
                "after_header": path,
                "before": attributes[0] + described(before),
                "after": attributes[1] + described(pairs, before),
            }
        )
    for worker in changed_workers:
        header = f"process {worker.pid} of HAProxy"
        before = worker.before or []
        diff.append(
            {"before_header": header, "after_header": header, "before": described(before), "after": described(pairs, before)}
        )
    module.exit_json(
        changed=bool(differing or changed_workers),
        path=path,
        file_changed=file_changed,
        workers=[worker.pid for worker in workers if worker.before is not None],
        changed_workers=[worker.pid for worker in changed_workers],
        diff=diff,
        invocation=invocation,
    )


if __name__ == "__main__":
    main()
