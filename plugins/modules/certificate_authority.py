#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority
short_description: Create a certificate authority on the controller, and manage the passphrase of its key
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Creates the key (P-384) and the certificate of a CA unless they exist. An existing CA is kept. If several runs start at the
    same time, one creates the CA and the others use it.
  - The key is encrypted with O(passphrase). A key that is not encrypted, or is encrypted with O(passphrase_before), is encrypted
    again. The key itself does not change.
requirements:
  - cryptography >= 40, which ansible-core brings
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: none
    description: The content is secret, or part of the result.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  path:
    description: Directory of the CA, with C(ca.pem) and C(ca-key.pem).
    type: path
    required: true
  name:
    description: Common name of the CA.
    type: str
    required: true
  days:
    description: Validity of the CA certificate in days.
    type: int
    default: 3650
  passphrase:
    description: Passphrase that encrypts the key. If it is empty, the key is not encrypted.
    type: str
    default: ""
  passphrase_before:
    description: The previous passphrase, if it changes.
    type: str
    default: ""
seealso:
  - plugin: slm.copilot.ca_key_opens
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Create the fleet CA
  slm.copilot.certificate_authority:
    path: "{{ copilot_fleet_dir }}/ca"
    name: slm.copilot fleet CA
    passphrase: "{{ vault_ca_passphrase }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
done:
  description: What was done to the CA, V(founded), V(encrypted), V(decrypted), or an empty string.
  returned: success
  type: str
  sample: founded
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.slm.copilot.plugins.module_utils._access.authority import MISSING, keep
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "days": {"type": "int", "default": 3650},
            "passphrase": {"type": "str", "no_log": True, "default": ""},
            "passphrase_before": {"type": "str", "no_log": True, "default": ""},
        },
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography >= 40"), exception=MISSING)
    wanted = module.params
    folder, before = Path(wanted["path"]), {"", wanted["passphrase_before"]}
    try:
        if module.check_mode:
            done = keep(folder, wanted["name"], wanted["days"], wanted["passphrase"], before, act=False)
        else:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(folder):
                done = keep(folder, wanted["name"], wanted["days"], wanted["passphrase"], before)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"path: {folder} cannot be written to: {error.strerror}")
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
