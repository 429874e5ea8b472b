#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: client_certificates
short_description: Issue, renew and revoke client certificates
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Ensures that exactly the named users have a valid certificate of a CA, and maintains the CA's revocation list.
  - Each user has a folder in O(directory) with C(client.pem), C(client-key.pem), C(client.p12) and C(client-p12-password).
    Folders have mode 0700 and files 0600. Other files in it are not changed.
  - A copy of every issued certificate is kept in the folder C(issued) beside the CA, so that all certificates of a user can be
    revoked, including renewed and lost ones.
  - Keys and passwords never appear in diffs, logs or results.
requirements:
  - cryptography >= 40, which ansible-core brings
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: full
    description: Shows each user's changes with the reason.
  idempotent:
    support: full
    description: A second run changes nothing, until something is about to expire.
options:
  ca_dir:
    description:
      - Directory of the CA, with its certificate C(ca.pem) and its key C(ca-key.pem).
      - The revocation list is written to C(crl.pem) in it.
    type: path
    required: true
  ca_passphrase:
    description: Passphrase of the CA's key.
    type: str
  directory:
    description: Directory of the users' folders.
    type: path
    required: true
  users:
    description: Names of the users with a certificate. The certificates of all others are revoked, and their files are removed.
    type: list
    elements: str
    required: true
  days:
    description: Validity of a new certificate in days.
    type: int
    default: 365
  renew_before_days:
    description: Days before expiry at which a certificate is replaced.
    type: int
    default: 30
  pkcs12:
    description: V(modern) encrypts C(client.p12) with AES-256, V(legacy) with 3DES, which older browsers and systems need.
    type: str
    choices: [modern, legacy]
    default: modern
  pkcs12_password:
    description: Password of the PKCS#12 files. By default a password is generated for each user.
    type: str
  crl_days:
    description: Validity of the revocation list in days.
    type: int
    default: 365
  crl_renew_before_days:
    description: Days before expiry at which the revocation list is renewed.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: Ensure that only Alice and Bob have a valid certificate
  slm.copilot.client_certificates:
    ca_dir: /home/operator/copilot/.slm-copilot/client-ca
    directory: /home/operator/copilot/.slm-copilot/clients
    users: [alice, bob]
  delegate_to: localhost
"""

RETURN = r"""
issued:
  description: Users who got a new certificate, with the reason.
  returned: success
  type: dict
  sample: {alice: there is none}
revoked:
  description: Users whose certificates were revoked, with the serial numbers in hexadecimal.
  returned: success
  type: dict
  sample: {bob: [4f1d2c]}
crl_reason:
  description: Why the revocation list was renewed. Empty if it was not.
  returned: success
  type: str
  sample: certificates are revoked
"""

import os
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.slm.copilot.plugins.module_utils._access.client_authority import MISSING, Authority, Folder, in_utc
from ansible_collections.slm.copilot.plugins.module_utils._access.client_certificates import (
    Plan,
    check_request,
    list_reason,
    make_plan,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked


def account(plan: Plan, packed: list[str], reason: str) -> str:
    lines = [f"{user}: issued, because {why}" for user, why in plan.issue.items()]
    lines += [f"{user}: packed again" for user in packed if user not in plan.issue]
    lines += [f"{user}: revoked {', '.join(f'{one:x}' for one in serials)}" for user, serials in plan.revoke.items()]
    return "".join(f"{line}\n" for line in lines + ([f"list of revoked certificates: {reason}"] if reason else []))


def run(module: AnsibleModule) -> dict[str, Any]:
    wanted = module.params
    check_request(wanted["users"], wanted["days"], wanted["renew_before_days"], wanted["pkcs12_password"])
    authority = Authority(Path(wanted["ca_dir"]), wanted["ca_passphrase"])
    directory = Path(wanted["directory"])
    now = datetime.now(timezone.utc)
    before = authority.revocations()
    issued = authority.issued()
    folders = {user: Folder(directory / user) for user in wanted["users"]}
    present = {user: one for user, folder in folders.items() if (one := folder.present(authority))}
    plan = make_plan(
        wanted["users"],
        issued,
        [entry.serial_number for entry in before or []],
        present,
        wanted["renew_before_days"],
        authority.end,
        now,
    )
    gone = [serial for serials in plan.revoke.values() for serial in serials]
    same_ca = before is not None and before.is_signature_valid(authority.key.public_key())
    reason = list_reason(
        in_utc(before, "next_update") if before is not None else None, same_ca, len(gone), wanted["crl_renew_before_days"], now
    )
    # First who must not come in any longer.
    if reason and not module.check_mode:
        authority.write_list(before if same_ca else None, gone, wanted["crl_days"])
    strangers = [Folder(directory / user) for user in sorted({one.user for one in issued} - set(folders))]
    leftover = [folder for folder in strangers if folder.used()]
    packed = []
    changed = bool(plan.issue or reason or leftover)
    if not module.check_mode:
        for folder in leftover:
            folder.clear()
        for user in plan.issue:
            folders[user].fill(*authority.issue(user, wanted["days"]))
    for user, folder in folders.items():
        foreseen = module.check_mode and user in plan.issue
        if foreseen or folder.pack(authority, wanted["pkcs12"], wanted["pkcs12_password"], module.check_mode):
            packed.append(user)
        for path in folder.wrong_modes():
            changed = True
            if not module.check_mode:
                path.chmod(0o700 if path == folder.path else 0o600)
    return {
        "changed": changed or bool(packed),
        "issued": plan.issue,
        "revoked": {user: [f"{serial:x}" for serial in serials] for user, serials in plan.revoke.items()},
        "crl_reason": reason,
        "diff": {"before": "", "after": account(plan, packed, reason)},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ca_dir": {"type": "path", "required": True},
            "ca_passphrase": {"type": "str", "no_log": True},
            "directory": {"type": "path", "required": True},
            "users": {"type": "list", "elements": "str", "required": True},
            "days": {"type": "int", "default": 365},
            "renew_before_days": {"type": "int", "default": 30},
            "pkcs12": {"type": "str", "choices": ["modern", "legacy"], "default": "modern"},
            "pkcs12_password": {"type": "str", "no_log": True},
            "crl_days": {"type": "int", "default": 365},
            "crl_renew_before_days": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography >= 40"), exception=MISSING)
    os.umask(0o077)
    try:
        # Two runs at once would each write a list of revoked ones without those of the other.
        with nullcontext() if module.check_mode else locked(module.params["ca_dir"]):
            result = run(module)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be read or written: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
