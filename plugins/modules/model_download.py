#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_download
short_description: Download a model file to a host and verify it
version_added: 0.1.0
description:
  - Downloads one GGUF file from a model hub or a URL, or copies it from the controller.
  - The file is written beside O(dest) as C(.partial), verified, and only then renamed. An existing file at O(dest) is kept until
    then, and stays if anything fails.
  - An interrupted transfer resumes where it stopped, in the same run or in a later one.
  - The result of the verification is recorded in C(.json) beside the file. As long as size and modification time match the
    record, the file is not hashed again and the network is not used.
  - A second run for the same O(dest) waits for the first one and shows its progress. This also applies after C(Ctrl-C), which
    does not stop the transfer on the host.
  - Progress is shown at least every 15 seconds, with the percentage, the rate and the remaining time.
requirements:
  - huggingface_hub 2.x in the module's Python for O(repo), when there is something to fetch; the role C(model_fetch)
    brings it
  - nothing but Python for O(url) and O(src)
options:
  dest:
    description:
      - Path of the model file. Its directory must exist.
      - The module's own files have this path with C(.json), C(.lock), C(.partial) and C(.partial.json) appended.
    type: path
    required: true
  name:
    description: Name of the model in progress lines and in the result, such as its ID in a catalogue.
    type: str
  repo:
    description: Repository on the hub, C(owner/name). Requires O(file).
    type: str
  file:
    description: Path of the file in O(repo).
    type: str
  revision:
    description:
      - Commit, tag or branch of O(repo).
      - A branch is resolved once. A file that was downloaded from it is kept, even if the branch changes.
    type: str
    default: main
  endpoint:
    description: URL of the hub. Defaults to E(HF_ENDPOINT) on the host, then to the public hub.
    type: str
  url:
    description:
      - URL of the file, http or https.
      - A user and a password in it are sent as HTTP Basic authentication, to this server only.
      - The query and the user part are not shown, logged or written to the lock file.
    type: str
  url_with_secrets:
    description: The complete O(url), if it has parts that may be secret. Set by the action plugin.
    type: str
  src:
    description: Path of the file on the controller. A relative path is searched for like that of C(ansible.builtin.copy).
    type: path
  src_size:
    description: Size of O(src) in bytes. Set by the action plugin.
    type: int
    default: 0
  src_mtime_ns:
    description: Modification time of O(src) in nanoseconds. Set by the action plugin.
    type: int
    default: 0
  sha256:
    description:
      - SHA-256 that the file must have, 64 hexadecimal digits.
      - Defaults to the checksum that the hub publishes for O(repo), and to that of the file on the controller for O(src). For
        O(url), only the structure of the file is verified without it.
    type: str
  token_file:
    description:
      - File on the host with the hub's token for gated and private models.
      - Without O(token_file) and O(token), E(HF_TOKEN) on the host is used.
    type: path
  token:
    description: The hub's token. It is never shown.
    type: str
  ca_path:
    description:
      - File or directory on the host with the CA certificates to trust, in PEM format.
      - Defaults to E(SSL_CERT_FILE) or E(REQUESTS_CA_BUNDLE) on the host, then to the system trust store.
      - Certificates are always verified.
    type: path
  lock_timeout:
    description: Maximum time to wait for another run that downloads the same O(dest), in seconds.
    type: int
    default: 7200
  min_free_mib:
    description: Space that must remain free on the file system of O(dest), in MiB.
    type: int
    default: 1024
  verify_gguf:
    description: Whether to refuse a file that is not GGUF, or is shorter than its tensors require.
    type: bool
    default: true
  progress_file:
    description: File to which the module writes its progress. Set by the action plugin.
    type: path
attributes:
  check_mode:
    support: full
    description: Reports whether it would download or verify, from the record only, without network access.
  diff_mode:
    support: none
    description: A model has no diff.
  idempotent:
    support: full
    description: Changes nothing if the recorded file matches the request.
  action:
    support: full
    description: An action plugin runs it in the background, shows its progress, and copies O(src) from the controller.
  async:
    support: partial
    description: The action plugin runs the module asynchronously itself. With C(async) on the task there is no progress.
extends_documentation_fragment:
  - ansible.builtin.files
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Download a model from the hub at a pinned commit
  slm.copilot.model_download:
    dest: /var/lib/slm-copilot/models/Mistral-7B-Instruct-v0.3-Q4_K_M.gguf
    repo: bartowski/Mistral-7B-Instruct-v0.3-GGUF
    file: Mistral-7B-Instruct-v0.3-Q4_K_M.gguf
    revision: 83e9aa141f2e28c82232fea5325f54edf17c43de
    owner: root
    group: slm-copilot
    mode: "0640"
  vars:
    ansible_python_interpreter: /opt/hub-client/bin/python  # a venv with huggingface_hub

- name: Download a model from your own server with a private CA
  slm.copilot.model_download:
    dest: /var/lib/slm-copilot/models/own.gguf
    url: https://models.example.com/own.gguf
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    ca_path: /etc/ssl/certs/company.pem

- name: Copy a model from the controller
  slm.copilot.model_download:
    dest: /var/lib/slm-copilot/models/own.gguf
    src: own.gguf
"""

RETURN = r"""
path:
  description: Path of the model file.
  returned: success
  type: str
  sample: /var/lib/slm-copilot/models/Mistral-7B-Instruct-v0.3-Q4_K_M.gguf
name:
  description: The value of O(name).
  returned: when O(name) is given
  type: str
  sample: mistral-7b
size:
  description: Size of the file in bytes.
  returned: when the file is there
  type: int
  sample: 4372812000
sha256:
  description: SHA-256 of the file.
  returned: when the file is there
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
source:
  description: Source of the file, C(hub), C(url) or C(src).
  returned: when the file is there
  type: str
  sample: hub
revision:
  description: Commit of the repository that the file was downloaded from, if it is known.
  returned: when the file is there
  type: str
  sample: 83e9aa141f2e28c82232fea5325f54edf17c43de
pending:
  description: Whether there is something to do. It is also set if C(changed_when) hides the change.
  returned: in check mode
  type: bool
  sample: false
pin:
  description: Catalogue fields that pin exactly this file. A URL with a query or a user is left out.
  returned: when the file is there
  type: dict
  sample:
    repo: bartowski/Mistral-7B-Instruct-v0.3-GGUF
    file: Mistral-7B-Instruct-v0.3-Q4_K_M.gguf
    revision: 83e9aa141f2e28c82232fea5325f54edf17c43de
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    size: 4372812000
resumed_from:
  description: Number of bytes left by an earlier run, which were not downloaded again.
  returned: when the file is there
  type: int
  sample: 0
seconds:
  description: Duration in seconds.
  returned: when the file is there
  type: float
  sample: 171.5
gguf:
  description: Header of the file, as returned by the module C(gguf_info).
  returned: when the file is there and O(verify_gguf) is true
  type: dict
  sample:
    architecture: llama
upload_from:
  description: Offset in bytes from which the action plugin must copy O(src).
  returned: never in the result of a task
  type: int
  sample: 0
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url
from ansible_collections.slm.copilot.plugins.module_utils._model.download.job import download
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import Wanted, check_wanted, recorded


def read_token(params: dict[str, Any]) -> str | None:
    """Returns the hub's token from the first place that has one.

    :raises CopilotError: when the file that should hold it cannot be used.
    """
    if params["token"]:
        return str(params["token"]).strip()
    if not params["token_file"]:
        return os.environ.get("HF_TOKEN", "").strip() or None
    try:
        with open(params["token_file"], encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise CopilotError(f"token_file: cannot read {params['token_file']} on the host: {reason}.") from error
    if not token or len(token.split()) > 1:
        raise CopilotError(f"token_file: {params['token_file']} must hold one token and nothing else.")
    return token


def wanted_from(params: dict[str, Any]) -> Wanted:
    return Wanted(
        dest=params["dest"],
        repo=params["repo"],
        file=params["file"],
        revision=params["revision"],
        endpoint=params["endpoint"],
        url=params["url_with_secrets"] or params["url"],
        src=params["src"],
        src_size=params["src_size"],
        src_mtime_ns=params["src_mtime_ns"],
        sha256=params["sha256"].lower() if params["sha256"] else None,
        token=read_token(params) if params["repo"] else None,
        ca_path=params["ca_path"] or os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or None,
        min_free=params["min_free_mib"] << 20,
        lock_timeout=params["lock_timeout"],
        verify_gguf=params["verify_gguf"],
    )


def presented(record: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """Returns the part of a record that a result shows."""
    pin = {"repo": wanted.repo, "file": wanted.file, "revision": record.get("revision"), "url": wanted.url}
    if wanted.url and shown_url(wanted.url) != wanted.url:
        del pin["url"]  # The lock file is no place for a password or a signature, which expires anyway.
    pin.update(sha256=record["sha256"], size=record["size"])
    return {
        **{key: record.get(key) for key in ("size", "sha256", "source", "revision", "resumed_from", "msg", "changed")},
        "pin": {key: value for key, value in pin.items() if value is not None},
        **({"gguf": record["gguf"]} if record.get("gguf") else {}),
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    started = time.monotonic()
    wanted = wanted_from(module.params)
    check_wanted(wanted)
    result: dict[str, Any] = {"path": wanted.dest}
    if module.params["name"]:
        result["name"] = module.params["name"]
    if module.check_mode:
        record = recorded(wanted)
        if record is None:
            there = os.path.exists(wanted.dest)
            msg = "would verify or fetch it" if there else "would fetch it"
            return {**result, "changed": True, "pending": True, "msg": msg}
        record = {**record, "changed": False, "msg": "already there", "resumed_from": 0}
    else:
        record = download(wanted, ProgressFile(module.params["progress_file"]))
        if "upload_from" in record:
            return {**result, **record}
    result.update(presented(record, wanted))
    file_args = module.load_file_common_arguments(module.params, path=wanted.dest)
    result["changed"] = module.set_fs_attributes_if_different(file_args, result["changed"])
    if module.check_mode:
        result["pending"] = result["changed"]
    result["seconds"] = round(time.monotonic() - started, 1)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "name": {"type": "str"},
            "repo": {"type": "str"},
            "file": {"type": "str"},
            "revision": {"type": "str", "default": "main"},
            "endpoint": {"type": "str"},
            "url": {"type": "str"},
            "url_with_secrets": {"type": "str", "no_log": True},
            "src": {"type": "path"},
            "src_size": {"type": "int", "default": 0},
            "src_mtime_ns": {"type": "int", "default": 0},
            "sha256": {"type": "str", "no_log": False},
            "token_file": {"type": "path", "no_log": False},
            "token": {"type": "str", "no_log": True},
            "ca_path": {"type": "path"},
            "lock_timeout": {"type": "int", "default": 7200},
            "min_free_mib": {"type": "int", "default": 1024},
            "verify_gguf": {"type": "bool", "default": True},
            "progress_file": {"type": "path"},
        },
        mutually_exclusive=[("repo", "url", "src")],
        required_one_of=[("repo", "url", "src")],
        required_by={"repo": ["file"], "file": ["repo"]},
        add_file_common_args=True,
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"dest: {module.params['dest']} cannot be written: {error}.")


if __name__ == "__main__":
    main()
