# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the logs of hosts to an archive for a bug report; see the module of the same name for its documentation."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version
from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import kept_keys
from ansible_collections.slm.copilot.plugins.module_utils._common import files as _files
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._redaction import Redaction

README = """Logs of a fleet for a bug report.

Keys, names of developers, hosts and addresses are placeholders. Quoted parts of llama-server's errors are removed, and
so are lines that may contain parts of prompts: "[3 left out]". Review the archive before you share it nevertheless.

ansible-core {version}
"""


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "path": {"type": "path", "required": True},
                "hosts": {"type": "dict", "required": True, "no_log": True},
                "folder": {"type": "path", "required": True},
                "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
                "names": {"type": "list", "elements": "str", "default": []},
                "addresses": {"type": "dict", "default": {}},
            }
        )
        path, hosts = os.path.realpath(arguments["path"]), arguments["hosts"]
        try:
            if os.path.lexists(path):
                raise CopilotError(f"logs_file: {path} exists and is not replaced. Name another file.")
            keys = {file: kept_keys(os.path.join(arguments["folder"], file)) for file in ("api-keys", "backend-keys")}
            redaction = Redaction(
                secrets=[*arguments["secrets"], *(key for one in keys.values() for key in one.values())],
                names=[*arguments["names"], *keys["api-keys"], *(name for host in hosts.values() for name in _users(host))],
                hosts={host: [*arguments["addresses"].get(host, []), *said.get("names", [])] for host, said in hosts.items()},
            )
            if not self._task.check_mode:
                _files.write(path, _archive(hosts, redaction), 0o600)
        except CopilotError as error:
            return {**result, "failed": True, "msg": str(error)}
        except OSError as error:
            return {**result, "failed": True, "msg": f"logs_file: {path} cannot be written: {error.strerror}"}
        return {**result, "changed": True, "path": path, "placeholders": redaction.hosts}


def _users(host: Mapping[str, Any]) -> list[str]:
    """Returns the developers that a host's report names."""
    with suppress(ValueError, KeyError, TypeError):
        return list(map(str, json.loads(host["texts"]["configuration/report.json"])["users"]))
    return []


def _archive(hosts: Mapping[str, Mapping[str, Any]], redaction: Redaction) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:

        def add(name: str, text: str) -> None:
            content = text.encode()
            entry = tarfile.TarInfo(str(Path("slm-copilot-logs") / name))
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))

        add("README.txt", README.format(version=ansible_version))
        for host, said in hosts.items():
            folder = redaction.hosts[host]
            if "journals" not in said:
                add(f"{folder}/missing", redaction.text(str(said.get("msg") or "it cannot be reached")) + "\n")
                continue
            for unit, text in said["journals"].items():
                add(f"{folder}/journal/{unit}", redaction.journal(unit, text))
            for name, text in said["texts"].items():
                add(f"{folder}/{name}", redaction.text(text))
    return packed.getvalue()
