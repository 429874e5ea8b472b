# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backs up a fleet's state on the controller; see the module of the same name for its documentation."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access import backup
from ansible_collections.slm.copilot.plugins.module_utils._common import files as _files
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._archive import ArchiveAction
from ansible_collections.slm.copilot.plugins.plugin_utils._vault import decrypted, encrypted, read_password


class ActionModule(ArchiveAction):
    def act(self, *, path: str, folder: str, model_lock_file: str, password_file: str, **_more: Any) -> dict[str, Any]:
        if os.path.commonpath([os.path.realpath(path), os.path.realpath(folder)]) == os.path.realpath(folder):
            raise CopilotError(f"backup_file: {path} is in the folder that is to be backed up. Name a file elsewhere.")
        with backup.quiet(folder):
            state = backup.read_state(folder, model_lock_file)
        document = backup.pack(state)
        there = os.path.lexists(path)
        password = read_password(password_file, repeat=not there)
        changed = not there or self._kept(path, password, state.fleet) != document
        if changed and not self._task.check_mode:
            try:
                _files.write(path, encrypted(document, password), 0o600)
            except OSError as error:
                raise CopilotError(f"backup_file: {path} cannot be written: {error.strerror}") from None
        files = [entry.path for entry in state.entries if entry.content is not None]
        files += [model_lock_file] if state.model_lock else []
        return {"changed": changed, "path": path, "fleet": state.fleet, "files": files}

    def _kept(self, path: str, password: bytes, fleet: str) -> bytes:
        """Returns the content of an earlier archive of this fleet. Any other file must not be replaced."""
        try:
            with open(path, "rb") as file:
                document = decrypted(file.read(), password, path)
            if backup.unpack(document).fleet == fleet:
                return document
            why = "it is of another fleet"
        except OSError as error:
            why = str(error.strerror)
        except CopilotError as error:
            why = str(error)
        raise CopilotError(f"backup_file: {path} exists and is not replaced ({why}) Name another file, or move it away.")
