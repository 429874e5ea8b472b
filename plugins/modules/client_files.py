#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: client_files
short_description: Write the client configuration of developers
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Writes a folder for each developer, with configuration files for their programs, from aider to the OpenAI SDK, the key, the
    CA, instructions, and one archive of all that to send to the developer.
  - Folders have mode 0700 and files 0600, since most of them contain the key.
  - Keys never appear in diffs, logs, error messages or the result.
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: full
    description: Shows the names of files and their changes, never their content.
  idempotent:
    support: full
    description: A file with the same content and mode is not changed.
options:
  path:
    description:
      - Directory of the developers' folders.
      - The files that the module wrote are listed in C(.written.json), and removed when they are no longer wanted. Other files
        are not changed.
    type: path
    required: true
  endpoints:
    description: The endpoints. A developer with several endpoints gets a subfolder for each.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the endpoint, such as the host's name.
        type: str
        required: true
      url:
        description: URL of the API, V(https://host:port/v1).
        type: str
        required: true
      models:
        description:
          - The models, each with C(name) in the API and C(context_size) of a conversation in tokens. Other fields are ignored, so
            that C(models) from a host's report can be passed.
          - A model whose C(fim_only) is true is used only for completion as you type.
          - The first other model is the programs' default.
        type: list
        elements: dict
        required: true
      users:
        description: Names of the developers who may use it.
        type: list
        elements: str
        required: true
      keys:
        description: Keys by developer's name, at least for the developers in O(endpoints[].users).
        type: dict
        required: true
  ca_path:
    description:
      - File with the CA certificates that the endpoints are verified with, in PEM format. Leave it out if the CA is in the system
        trust stores.
    type: path
  mtls:
    description:
      - Whether the endpoints accept client certificates. Unless it is V(off), each developer's folder must contain C(client.pem)
        and C(client-key.pem).
    type: str
    choices: ["off", optional, required]
    default: "off"
seealso:
  - module: slm.copilot.api_key_info
"""

EXAMPLES = r"""
- name: Write the developers' client configuration
  slm.copilot.client_files:
    path: ~/copilot/clients
    ca_path: ~/copilot/ca.pem
    endpoints:
      - name: copilot-1
        url: https://192.0.2.10:8443/v1
        models:
          - name: devstral-small-2
            context_size: 32768
        users: [alice]
        keys: "{{ copilot_keys['values'] }}"
  delegate_to: localhost
"""

RETURN = r"""
archives:
  description: Path of each developer's archive.
  returned: success
  type: dict
  sample:
    alice: /home/operator/copilot/clients/alice/slm-copilot-alice.tar.gz
changes:
  description: What happened to each changed file, V(added), V(changed), V(mode) or V(removed), by its path relative to O(path).
  returned: success
  type: dict
  sample:
    alice/api-key: changed
"""

import json
import os
import re
import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._clients.folders import (
    archive_name,
    parse_offers,
    users_of,
    wanted_files,
)
from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import (
    CERTIFICATE,
    CERTIFICATE_FILES,
    CERTIFICATE_KEY,
    MTLS,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write

WRITTEN = ".written.json"  # what this module wrote, so that it removes nothing else


def read_ca(path: str | None, check_mode: bool) -> str:
    if not path:
        return ""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        if check_mode:
            return ""  # a fleet without a CA yet
        raise CopilotError(
            f"ca_path: {path} cannot be read: {error.strerror}. Run the playbook slm.copilot.site first."
        ) from None
    # Without comments, which may be in any encoding.
    certificates = re.findall(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", content)
    if not certificates:
        raise CopilotError(f"ca_path: {path} holds no certificate in PEM form: give the file of the CA that signs the endpoints.")
    return b"".join(one.replace(b"\r\n", b"\n") + b"\n" for one in certificates).decode("ascii")


def read_certificates(base: Path, users: list[str], check_mode: bool) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for user in users:
        files = {name: base / user / name for name in CERTIFICATE_FILES}
        found[user] = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        if check_mode:  # they are made in the same run
            found[user] = {CERTIFICATE: b"", CERTIFICATE_KEY: b"", **found[user]}
    return found


def read_written(base: Path) -> list[str]:
    try:
        names = json.loads((base / WRITTEN).read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise CopilotError(f"path: {base / WRITTEN} cannot be read ({error}); remove it, and what it may list by hand.") from None
    return [name for name in names if ".." not in Path(name).parts and not Path(name).is_absolute()]


def find_changes(base: Path, wanted: dict[str, bytes], written: list[str]) -> dict[str, str]:
    changes: dict[str, str] = {}
    for name, content in wanted.items():
        path = base / name
        if not path.is_file():
            changes[name] = "added"
        elif path.read_bytes() != content:
            changes[name] = "changed"
        elif stat.S_IMODE(path.stat().st_mode) != 0o600:
            changes[name] = "mode"
    changes.update((name, "removed") for name in written if name not in wanted and (base / name).is_file())
    return changes


def apply(base: Path, wanted: dict[str, bytes], changes: dict[str, str]) -> None:
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    # First, so that what a run that is cut off leaves is known to the next one.
    listed = sorted({*read_written(base), *wanted})
    write(base / WRITTEN, json.dumps(listed, indent=1) + "\n", 0o600)
    for name, change in changes.items():
        path = base / name
        if change == "removed":
            path.unlink()
            for folder in path.relative_to(base).parents:
                if folder != Path() and not any((base / folder).iterdir()):
                    (base / folder).rmdir()
        elif change == "mode":
            path.chmod(0o600)
        else:
            for folder in reversed([path.parent, *path.parent.parents]):
                if base in folder.parents and not folder.is_dir():
                    folder.mkdir(mode=0o700)
            write(path, wanted[name], 0o600)
    write(base / WRITTEN, json.dumps(sorted(wanted), indent=1) + "\n", 0o600)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "url": {"type": "str", "required": True},
                    "models": {"type": "list", "elements": "dict", "required": True},
                    "users": {"type": "list", "elements": "str", "required": True},
                    "keys": {"type": "dict", "required": True, "no_log": True},
                },
            },
            "ca_path": {"type": "path"},
            "mtls": {"type": "str", "choices": list(MTLS), "default": "off"},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    base, mtls = Path(module.params["path"]), module.params["mtls"]
    try:
        offers = parse_offers(module.params["endpoints"])
        users = users_of(offers)
        ca = read_ca(module.params["ca_path"], module.check_mode)
        wanted = wanted_files(offers, ca, mtls, read_certificates(base, users, module.check_mode) if mtls != "off" else {})
        written = read_written(base)
        changes = find_changes(base, wanted, written)
        if changes and not module.check_mode:
            apply(base, wanted, changes)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"path: {error.filename or base} cannot be written or read: {error.strerror}")

    before = [name for name in sorted({*wanted, *changes}) if changes.get(name) != "added"]
    after = [name + (f" ({changes[name]})" if name in changes else "") for name in sorted(wanted)]
    module.exit_json(
        changed=bool(changes),
        archives={user: str(base / user / archive_name(user)) for user in users},
        changes=changes,
        diff={
            "before_header": str(base),
            "after_header": str(base),
            "before": "".join(f"{name}\n" for name in before),
            "after": "".join(f"{name}\n" for name in after),
        },
    )


if __name__ == "__main__":
    main()
