#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Manage a file of named API keys
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Manages one file of API keys, with one key per name.
  - A generated key consists of C(sk-) and 256 random bits, encoded in letters, digits, C(-) and C(_).
  - Keys never appear in diffs, logs or error messages. They are returned only with O(return_values=true).
  - The file is always replaced atomically, whatever O(unsafe_writes) is set to.
extends_documentation_fragment:
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
    description: Writes nothing. A key that would be generated is not returned.
  diff_mode:
    support: full
    description: Shows names and their changes, never keys.
  idempotent:
    support: partial
    description: O(keys[].state=rotated) generates a new key in every run.
options:
  path:
    description:
      - Path of the file. Its directory must exist.
      - An existing file that this module did not write is refused and left unchanged.
    type: path
    required: true
  keys:
    description: The names, and the desired state of each.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the key's owner or purpose, 1 to 64 letters, digits, C(.), C(_), C(@), C(+) or C(-).
          - It is written to the file as a comment, and shown in results and diffs.
        type: str
        required: true
      state:
        description:
          - V(present) generates a key if the name has none, and otherwise keeps it.
          - V(absent) removes the key. Removing the last key of a file is refused, because nobody could authenticate any more.
          - V(rotated) generates a new key in every run.
        type: str
        choices: [present, absent, rotated]
        default: present
      value:
        description:
          - The key to use instead of a generated one, 16 to 512 printable ASCII characters without spaces, not starting with
            C(#).
          - Only with O(keys[].state=present). It replaces an existing key of this name.
        type: str
        aliases: [key]
  exclusive:
    description: Whether to remove the keys of all names that are not in O(keys).
    type: bool
    default: false
  return_values:
    description:
      - Whether to return the keys. Set C(no_log) on the task.
      - Ansible masks values in the result that were passed in as secrets, so a key given as O(keys[].value) is not readable
        there. M(slm.copilot.api_key_info) returns it.
    type: bool
    default: false
  mode:
    description: Permissions of the file. They are set before the file is moved into place.
    type: raw
    default: "0640"
seealso:
  - module: slm.copilot.api_key_info
"""

EXAMPLES = r"""
- name: Give each developer a key, and revoke all other keys
  slm.copilot.api_key:
    path: "{{ copilot_fleet_dir }}/api-keys"
    mode: "0600"
    exclusive: true
    keys:
      - name: shared
      - name: alice
      - name: bob

- name: Replace a key that was lost
  slm.copilot.api_key:
    path: "{{ copilot_fleet_dir }}/api-keys"
    mode: "0600"
    keys:
      - name: alice
        state: rotated

- name: Use the generated key in a later task
  slm.copilot.api_key:
    path: "{{ copilot_fleet_dir }}/api-keys"
    keys:
      - name: balancer
    return_values: true
  register: copilot_keys   # the key is copilot_keys['values']['balancer']; '.values' is a method of Python's dict
  no_log: true
"""

RETURN = r"""
path:
  description: Path of the file.
  returned: success
  type: str
  sample: /srv/inventory/.slm-copilot/api-keys
names:
  description: The names that have a key, in the order of the file.
  returned: success
  type: list
  elements: str
  sample: [shared, alice, bob]
changes:
  description: What happened to each changed name, V(added), V(replaced), V(rotated) or V(removed).
  returned: success
  type: dict
  sample:
    alice: rotated
values:
  description:
    - The keys by name. Write C(result['values']), because C(result.values) is a method of Python's dict.
    - In check mode, without the keys that would be generated.
  returned: success and O(return_values=true)
  type: dict
  sample:
    alice: sk-TheKeyOfAlice
"""

import os
from contextlib import nullcontext

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import (
    KeyRequest,
    check_requests,
    diff_lines,
    parse_key_file,
    plan_keys,
    render_key_file,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import replaced
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked


def read_keys(path: str, check_mode: bool) -> tuple[dict[str, str], bytes] | None:
    """Returns the keys in the file and its content; None if it does not exist. In check mode its folder may be missing, too."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if not check_mode and not os.path.isdir(os.path.dirname(path) or "."):
            raise CopilotError(f"path: the folder of {path} does not exist; make it first") from None
        return None
    except OSError as error:
        raise CopilotError(f"path: {path} cannot be read: {error.strerror}; it was left as it is") from None
    try:
        return parse_key_file(content), content
    except CopilotError as error:
        raise CopilotError(
            f"path: {path} is not a key file of this module: {error}. It was left as it is; "
            "move it away to start over, or to give its keys again as values"
        ) from None


def write_file(module: AnsibleModule, content: bytes, file_args: dict) -> None:
    """Replace the file atomically; owner, group and mode are set before."""

    def attributes(new: str) -> None:
        module.set_fs_attributes_if_different({**file_args, "path": new}, False)

    # The mode of the file before, which may let everybody read, does not go over to the new keys.
    with replaced(file_args["path"], 0o600, check=attributes) as file:
        file.write(content)


def run(module: AnsibleModule, path: str) -> dict:
    requests = [KeyRequest(entry["name"], entry["state"], entry["value"]) for entry in module.params["keys"]]
    check_requests(requests)
    found = read_keys(path, module.check_mode)
    existing, content = found or ({}, b"")
    plan = plan_keys(existing, requests, module.params["exclusive"])

    file_args = module.load_file_common_arguments(module.params)
    # An empty file would let everyone in, so none is made where none was and no key is wanted. One that an editor on Windows has
    # saved is written again: servers treat the carriage return as part of the key, and refuse it.
    line_ends = b"\r" in content
    changed = bool(plan.changes) or line_ends
    if changed and not module.check_mode:
        try:
            write_file(module, render_key_file(plan.keys), file_args)
        except OSError as error:
            raise CopilotError(f"path: {path} cannot be written: {error.strerror}") from None
    before, after = diff_lines(existing, plan)
    if line_ends:
        before = f"(with carriage returns at the ends of lines)\n{before}"
    attributes_diff: dict = {"before_header": f"{path} (file attributes)", "after_header": f"{path} (file attributes)"}
    if found is not None or (changed and not module.check_mode):
        changed = module.set_fs_attributes_if_different(file_args, changed, attributes_diff)

    result = {
        "changed": changed,
        "path": path,
        "names": list(plan.keys),
        "changes": plan.changes,
        "diff": [{"before_header": path, "after_header": path, "before": before, "after": after}, attributes_diff],
    }
    if module.params["return_values"]:
        given = {request.name for request in requests if request.value is not None}
        result["values"] = {
            name: value
            for name, value in plan.keys.items()
            if not module.check_mode or name in given or plan.changes.get(name) not in ("added", "rotated")
        }
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keys": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "no_log": False,  # the names are no secrets, the values below are
                "options": {
                    "name": {"type": "str", "required": True},
                    "state": {"type": "str", "choices": ["present", "absent", "rotated"], "default": "present"},
                    "value": {"type": "str", "no_log": True, "aliases": ["key"]},
                },
            },
            "exclusive": {"type": "bool", "default": False},
            "return_values": {"type": "bool", "default": False},
            "mode": {"type": "raw", "default": "0640"},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    path = module.params["path"]
    # atomic_move gives a file that is new the mode of the umask for an instant.
    os.umask(0o077)
    try:
        # Two runs at once would each write a file without the keys that the other has made.
        with nullcontext() if module.check_mode else locked(os.path.dirname(path) or "."):
            result = run(module, path)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
