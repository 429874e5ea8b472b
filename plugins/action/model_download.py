# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module of the same name in the background, and copies a file from the controller for it."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
import time
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.utils.display import Display
from ansible_collections.slm.copilot.plugins.module_utils._bundle.manifest import Joined, part_name
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url
from ansible_collections.slm.copilot.plugins.plugin_utils._long_job import (
    SECONDS_BETWEEN_LINES,
    SECONDS_TO_FIRST_LINE,
    LongJobActionBase,
    Report,
    Sample,
)

display = Display()

CHUNK = 64 << 20  # How much of a file is sent, and lost when the connection is cut, at once.
BLOCK = 1 << 20


class ActionModule(LongJobActionBase):
    module_name = "slm.copilot.model_download"
    TRANSFERS_FILES = True

    def label(self, args: dict[str, Any]) -> str:
        return str(args.get("name") or os.path.basename(str(args.get("dest"))))

    def run_job(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        args.pop("url_with_secrets", None)
        url = args.get("url")
        if url and shown_url(str(url)) != url:  # The module's own log and its result show what it was called with.
            args.update(url=shown_url(str(url)), url_with_secrets=url)
        if not args.get("src"):
            return super().run_job(args, task_vars)
        if self._task.async_val:
            raise AnsibleActionFail("src: a file on the controller cannot be copied with async on the task. Remove async.")
        try:
            # A large file of a bundle lies there in parts.
            in_parts = os.path.isfile(part_name(args["src"], 0))
            source = str(args["src"]) if in_parts else self._find_needle("files", args["src"])
            stat = os.stat(part_name(source, 0) if in_parts else source)
        except (AnsibleError, OSError) as error:
            raise AnsibleActionFail(f"src: there is no file {args['src']} on the controller: {error}") from error
        args.update(src=source, src_size=Joined(source).size, src_mtime_ns=stat.st_mtime_ns)
        return self._copy(args, task_vars)

    def _copy(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Makes the host's partial file complete, and lets the module verify it and put it in place."""
        say = Lines(self.label(args), str(task_vars.get("inventory_hostname", "")))
        would: dict[str, Any] = self._in_check_mode(args, task_vars)
        if self._task.check_mode or would.get("failed"):
            return would
        if would.get("changed") and not args.get("sha256"):
            args["sha256"] = hash_file(args["src"], say)
        resumed_from = None
        while True:
            result = super().run_job(args, task_vars)
            if result.get("failed") or "upload_from" not in result:
                return result if resumed_from is None else {**result, "resumed_from": resumed_from}
            # The module reports the offset of the missing data until the file is complete.
            offset = int(result["upload_from"])
            resumed_from = offset if resumed_from is None else resumed_from
            self._upload(args["src"], args["dest"], offset, args["src_size"], say)

    def _in_check_mode(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        before = self._task.check_mode
        self._task.check_mode = True
        try:
            return self.run_plainly(args, task_vars)
        finally:
            self._task.check_mode = before

    @staticmethod
    def _not_written(dest: str, answer: dict[str, Any], missing: int) -> str:
        """Says why a chunk cannot be appended, from what the host answered."""
        free = answer["stdout"].strip()
        room = f" {os.path.dirname(dest)} has {int(free) / 1e9:.2f} GB left." if free.isdigit() else ""
        return (
            f"dest: {dest}.partial cannot be written on the host: {(answer['stderr'] or answer['stdout']).strip()}. "
            f"{missing / 1e9:.2f} GB are missing.{room} Free some space, and run again: the copy resumes."
        )

    def _upload(self, source: str, dest: str, offset: int, size: int, say: Lines) -> None:
        partial, lock = shlex.quote(f"{dest}.partial"), shlex.quote(f"{dest}.lock")
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "chunk")
        file = Joined(source)
        with tempfile.NamedTemporaryFile(dir=C.DEFAULT_LOCAL_TMP) as chunk:
            file.seek(offset)
            while offset < size:
                length = fill(chunk, file)
                if length == 0:
                    raise AnsibleActionFail(f"src: {source} became shorter while it was copied. Run again.")
                self._transfer_file(chunk.name, remote)
                self._fixup_perms2((self._connection._shell.tmpdir, remote))
                # A chunk is appended only where it belongs, also when two runs copy the same file.
                answer = self._low_level_execute_command(
                    f"flock {lock} sh -c "
                    + shlex.quote(
                        f'[ "$(stat -c %s {partial} 2>/dev/null || echo 0)" = {offset} ] || exit 9; '
                        f"cat {shlex.quote(remote)} >> {partial} "
                        f"|| {{ df --output=avail --block-size=1 {partial} | tail -n 1; exit 1; }}"
                    )
                )
                if answer["rc"] == 9:
                    return  # Another run appended meanwhile: ask the module again.
                if answer["rc"] != 0:
                    raise AnsibleActionFail(self._not_written(dest, answer, size - offset))
                offset += length
                say.progress("copying from the controller", offset, size)


class Lines:
    """Prints progress of work on the controller."""

    def __init__(self, label: str, host: str) -> None:
        self._prefix = f"[{host}] {label}"
        self._report = Report()
        self._due = time.monotonic() + SECONDS_TO_FIRST_LINE

    def progress(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        self._report.add(Sample(phase, done, total, "bytes", now, os.getpid()))
        if now >= self._due:
            self._due = now + SECONDS_BETWEEN_LINES
            display.display(f"{self._prefix}: {self._report.line()}", stderr=True)


def fill(chunk: Any, file: Any) -> int:
    """Makes ``chunk`` the next bytes of ``file``. Returns how many those are."""
    chunk.seek(0)
    chunk.truncate()
    length = 0
    while length < CHUNK and (block := file.read(BLOCK)):
        length += chunk.write(block)
    chunk.flush()
    return length


def hash_file(path: str, say: Lines) -> str:
    digest = hashlib.sha256()
    file, done = Joined(path), 0
    while block := file.read(BLOCK):
        digest.update(block)
        done += len(block)
        say.progress("reading it on the controller", done, file.size)
    return digest.hexdigest()
