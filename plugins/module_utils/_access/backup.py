# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The content of a backup of a fleet's state before encryption, and how it is restored to a folder.

A backup is a JSON document with the fleet ID, and with path, mode and content of each file of the fleet's folder, and of the
model lock file beside it. It contains no links and no owners. Lock files of runs and partially written files are left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.fleet import ID, ID_FILE, read_id
from ansible_collections.slm.copilot.plugins.module_utils._common import files
from ansible_collections.slm.copilot.plugins.module_utils._common import lock as _lock
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

KIND = "slm.copilot backup"
FORMAT = 1
MODEL_LOCK = "model lock file"

_MODE = re.compile(r"0[0-7]{3}")
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.new")
_DAMAGED = "the archive is damaged: {}. Nothing was changed; take another archive."


@dataclass(frozen=True)
class Entry:
    """A file, or a folder when it has no content; the path is relative to the fleet's folder."""

    path: str
    mode: int
    content: bytes | None = None


@dataclass(frozen=True)
class State:
    """A fleet's state on the controller."""

    fleet: str
    entries: tuple[Entry, ...]  # a folder before what is in it
    model_lock: Entry | None = None


@dataclass(frozen=True)
class Plan:
    """What a restore does. ``actions`` has a word (``make``, ``replace``, ``mode``) for each path that changes."""

    state: State
    actions: dict[str, str]

    @property
    def replaced(self) -> list[str]:
        return [path for path, action in self.actions.items() if action == "replace"]


@contextmanager
def quiet(folder: str) -> Iterator[None]:
    """Locks the folder, and those in it that have their own locks, against other runs."""
    with ExitStack() as stack:
        stack.enter_context(_lock.locked(folder))
        for lock in sorted(Path(folder).glob(f"*/{_lock.FILE}")):
            stack.enter_context(_lock.locked(lock.parent))
        yield


def read_state(folder: str, model_lock: str = "") -> State:
    """Reads the state of a fleet.

    :param model_lock: path of the model lock file; empty, or of a file that is not there: none.
    :raises CopilotError: when there is no fleet, or when something is neither a file nor a folder or cannot be read.
    """
    fleet = read_id(folder)
    if not fleet:
        raise CopilotError(
            f"{folder} contains no fleet to back up: run it beside the inventory of the fleet, or name its folder with "
            "copilot_fleet_dir"
        )
    try:
        entries = tuple(_walk(Path(folder), Path(folder)))
        lock = Path(model_lock) if model_lock else None
        kept = _read(lock, MODEL_LOCK) if lock and os.path.lexists(lock) else None
    except OSError as error:
        raise CopilotError(f"{error.filename} cannot be read: {error.strerror}") from None
    return State(fleet, entries, kept)


def _walk(folder: Path, top: Path) -> Iterator[Entry]:
    yield Entry(str(folder.relative_to(top)), stat.S_IMODE(folder.stat().st_mode) & 0o777)
    for path in sorted(folder.iterdir()):
        if path.name == _lock.FILE or _TEMPORARY.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, top)
        else:
            yield _read(path, str(path.relative_to(top)))


def _read(path: Path, name: str) -> Entry:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        what = "a link" if stat.S_ISLNK(found.st_mode) else "no ordinary file"
        raise CopilotError(f"{path} is {what}, which a backup cannot hold: put the file itself there, or move it away")
    return Entry(name, stat.S_IMODE(found.st_mode) & 0o777, path.read_bytes())


def pack(state: State) -> bytes:
    """Returns the document that holds a state; the same one for the same state."""
    document = {
        "kind": KIND,
        "format": FORMAT,
        "fleet": state.fleet,
        "entries": [_packed(entry) for entry in state.entries],
        "model_lock": _packed(state.model_lock) if state.model_lock else None,
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _packed(entry: Entry) -> dict[str, Any]:
    content = {} if entry.content is None else {"content": base64.b64encode(entry.content).decode()}
    return {"path": entry.path, "mode": f"{entry.mode:04o}", **content}


def unpack(document: bytes) -> State:
    """Returns the state in a document. Raises CopilotError for one that is damaged, newer, or would write outside the folder."""
    try:
        found = json.loads(document)
    except ValueError:
        raise CopilotError(_DAMAGED.format("it is not a JSON document")) from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise CopilotError("the file is not a backup made by the playbook slm.copilot.backup. Nothing was changed.")
    version = found.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CopilotError(_DAMAGED.format("it does not say which format it has"))
    if version > FORMAT:
        raise CopilotError(
            f"the archive has format {version}, and this version of slm.copilot reads up to {FORMAT}: install the version that "
            "made it, or a later one. Nothing was changed."
        )
    try:
        entries = tuple(_unpacked(entry) for entry in found["entries"])
        lock = _unpacked(found["model_lock"]) if found["model_lock"] else None
        fleet = str(found["fleet"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise CopilotError(_DAMAGED.format("an entry is incomplete")) from None
    _check(fleet, entries, lock)
    return State(fleet, entries, lock)


def _unpacked(entry: dict[str, Any]) -> Entry:
    if not _MODE.fullmatch(entry["mode"]) or not isinstance(entry["path"], str):
        raise ValueError
    content = base64.b64decode(entry["content"], validate=True) if "content" in entry else None
    return Entry(entry["path"], int(entry["mode"], 8), content)


def _check(fleet: str, entries: tuple[Entry, ...], lock: Entry | None) -> None:
    """Refuses entries that no backup contains: outside of the folder, duplicate, or below a file."""
    folders: set[str] = set()
    seen: set[str] = set()
    for entry in entries:
        parts = entry.path.split("/")
        if entry.path != "." and ("\0" in entry.path or any(part in ("", ".", "..", _lock.FILE) for part in parts)):
            raise CopilotError(f"the archive has the path {entry.path!r}, which leaves the fleet's folder. Nothing was changed.")
        parent = "." if len(parts) == 1 else "/".join(parts[:-1])
        if entry.path in seen or (entry.path != "." and parent not in folders):
            raise CopilotError(_DAMAGED.format(f"the path {entry.path!r} is there twice, or its folder is missing"))
        seen.add(entry.path)
        if entry.content is None:
            folders.add(entry.path)
    ids = [entry.content for entry in entries if entry.path == ID_FILE and entry.content is not None]
    if not ID.fullmatch(fleet) or [one.decode(errors="replace").strip() for one in ids] != [fleet]:
        raise CopilotError(_DAMAGED.format("its fleet id is missing, or there are two"))
    if lock and (lock.path != MODEL_LOCK or lock.content is None):
        raise CopilotError(_DAMAGED.format("its model lock file is none"))


def plan_restore(state: State, folder: str, model_lock: str = "", replace: bool = False) -> Plan:
    """Compares a backup with existing files, and returns what a restore would do. Files that are not in the archive are kept.

    :param model_lock: where the model lock file goes; empty: nowhere.
    :param replace: whether files of the same fleet that differ may be replaced.
    :raises CopilotError: when the folder is of another fleet, has links where files go, or files that differ.
    """
    present = read_id(folder)
    if present and present != state.fleet:
        raise CopilotError(
            f"{folder} holds fleet {present}, and the archive fleet {state.fleet}: restore beside the inventory of the "
            "archive's fleet, or name a new folder with copilot_fleet_dir. Nothing was changed."
        )
    actions = {}
    try:
        for entry, target in _targets(state, folder, model_lock):
            action = _action(entry, target)
            if action:
                actions[target] = action
    except OSError as error:
        raise CopilotError(f"{error.filename} cannot be read: {error.strerror}. Nothing was changed.") from None
    plan = Plan(state, actions)
    if plan.replaced and not present:
        raise CopilotError(
            f"{', '.join(plan.replaced)} would be replaced, and {folder} does not say which fleet it is of ({ID_FILE} is "
            "missing): move what is there away, and restore again. Nothing was changed."
        )
    if plan.replaced and not replace:
        raise CopilotError(
            f"{', '.join(plan.replaced)} differ from the archive, which may be older and hold keys that were revoked since. To "
            "replace them by those of the archive, add -e confirmed=true. Nothing was changed."
        )
    return plan


def _targets(state: State, folder: str, model_lock: str) -> list[tuple[Entry, str]]:
    """Returns where each entry goes, a folder before what is in it."""
    targets = [(entry, os.path.normpath(os.path.join(folder, entry.path))) for entry in state.entries]
    if state.model_lock and model_lock:
        targets.append((state.model_lock, os.path.normpath(model_lock)))
    return targets


def _action(entry: Entry, target: str) -> str:
    if entry.path == ".":
        target = os.path.realpath(target)  # the operator may keep the folder elsewhere
    try:
        found = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        return "make"
    expected = stat.S_ISDIR if entry.content is None else stat.S_ISREG
    if not expected(found.st_mode):
        kind = "folder" if entry.content is None else "file"
        raise CopilotError(f"{target} is a link, or no {kind} as in the archive: move it away. Nothing was changed.")
    if entry.content is not None and Path(target).read_bytes() != entry.content:
        return "replace"
    return "" if stat.S_IMODE(found.st_mode) == entry.mode else "mode"


def restore(plan: Plan, folder: str, model_lock: str = "") -> None:
    """Carries out a plan. The fleet ID is written last: no run uses a folder without it.

    :raises CopilotError: when something cannot be written.
    """
    targets = sorted(_targets(plan.state, folder, model_lock), key=lambda target: target[0].path == ID_FILE)
    try:
        for entry, target in targets:
            if target in plan.actions:
                _put(entry, target)
    except OSError as error:
        raise CopilotError(f"{error.filename} cannot be written: {error.strerror}. Fix that and restore again.") from None


def _put(entry: Entry, target: str) -> None:
    if entry.content is not None:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)  # that of a lock file may be new
        files.write(target, entry.content, entry.mode)
        return
    os.makedirs(target, mode=0o700, exist_ok=True)
    os.chmod(target, entry.mode)
