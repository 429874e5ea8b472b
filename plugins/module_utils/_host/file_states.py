# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares files, folders and links with their wanted states, and changes each of them atomically."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import link, replaced


@dataclass(frozen=True)
class Wanted:
    """The wanted state of a path. With ``None`` as mode, the mode of an existing folder is not changed.

    Whoever makes an exclusive file first has it: its content is never replaced.
    """

    path: str
    state: str = "file"
    content: bytes | None = None
    target: str = ""
    owner: str = "root"
    group: str = "root"
    mode: int | None = None
    exclusive: bool = False


@dataclass(frozen=True)
class Present:
    """The state of a path: its type, content (of a link, its target), owner, group and mode."""

    kind: str
    content: bytes = b""
    owner: str = ""
    group: str = ""
    mode: int = 0


ABSENT = Present("absent")
# What may be where something is wanted.
REPLACEABLE = {
    "file": ("absent", "file", "link"),
    "link": ("absent", "file", "link"),
    "absent": ("absent", "file", "link"),
    "directory": ("absent", "directory"),
}


def look(path: str, follow: bool = False) -> Present:
    """Returns what is at a path.

    :param follow: whether a link counts as what it leads to.
    """
    try:
        found = os.stat(path) if follow else os.lstat(path)
    except FileNotFoundError:
        return ABSENT
    except NotADirectoryError:
        raise CopilotError(f"a part of {path} is not a directory") from None
    content = b""
    if stat.S_ISLNK(found.st_mode):
        kind, content = "link", os.fsencode(os.readlink(path))
    elif stat.S_ISDIR(found.st_mode):
        kind = "directory"
    elif stat.S_ISREG(found.st_mode):
        kind = "file"
        with open(path, "rb") as file:
            content = file.read()
    else:
        kind = "special"
    return Present(
        kind, content, _name(pwd.getpwuid, found.st_uid), _name(grp.getgrgid, found.st_gid), stat.S_IMODE(found.st_mode)
    )


def differences(present: Present, wanted: Wanted) -> list[str]:
    """Returns what differs: ``state`` alone, or of ``content``, ``owner``, ``group`` and ``mode`` what does."""
    if present.kind != wanted.state:
        return ["state"]
    if wanted.state == "absent":
        return []
    if wanted.state == "link":
        return [] if present.content == os.fsencode(wanted.target) else ["content"]
    differing = []
    if wanted.state == "file" and wanted.content is not None and present.content != wanted.content:
        differing.append("content")
    if wanted.mode is not None:
        theirs = {"owner": present.owner, "group": present.group, "mode": present.mode}
        ours = {"owner": wanted.owner, "group": wanted.group, "mode": wanted.mode}
        differing += [name for name in theirs if theirs[name] != ours[name]]
    return differing


def problem(present: Present, wanted: Wanted) -> str | None:
    """Returns why a path cannot reach the wanted state without destroying something else; empty if it can."""
    if present.kind not in REPLACEABLE[wanted.state]:
        is_none = "file" if wanted.state == "absent" else wanted.state
        return f"{wanted.path} is there and is no {is_none}: move it away, or give another path"
    if wanted.state == "file" and wanted.content is None and present.kind != "file":
        return f"{wanted.path} is not there, and only its owner and mode were given: give its content as well"
    return None


def apply(wanted: Wanted, present: Present, differing: list[str], check: Callable[[str], None]) -> None:
    """Brings a path into the wanted state.

    :param check: called with the path of a new file before it is moved into place; raises if the file is not valid.

    Raises FileExistsError when an exclusive file is there, or came meanwhile, with other content.
    """
    if wanted.state == "absent":
        os.unlink(wanted.path)
    elif wanted.state == "link":
        link(wanted.path, wanted.target)
    elif wanted.state == "directory":
        if present.kind == "absent":
            make_directories(os.path.dirname(wanted.path))
            os.mkdir(wanted.path, 0o700)
        look_after(wanted, 0o755 if wanted.mode is None else wanted.mode, os.O_DIRECTORY)
    elif "state" in differing or "content" in differing:
        try:
            with replaced(wanted.path, wanted.mode or 0, ids(wanted), check, exclusive=wanted.exclusive) as file:
                file.write(wanted.content or b"")
        except FileExistsError:
            if look(wanted.path).content != wanted.content:
                raise
    else:
        look_after(wanted, wanted.mode or 0, os.O_NOFOLLOW)


def make_directories(path: str) -> None:
    """Makes a directory and those above it, whatever the umask."""
    if not os.path.isdir(path):
        make_directories(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)


def look_after(wanted: Wanted, mode: int, flags: int) -> None:
    descriptor = os.open(wanted.path, os.O_RDONLY | flags)
    try:
        os.fchown(descriptor, *ids(wanted))
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def ids(wanted: Wanted) -> tuple[int, int]:
    try:
        return pwd.getpwnam(wanted.owner).pw_uid, grp.getgrnam(wanted.group).gr_gid
    except KeyError as error:
        raise CopilotError(f"{wanted.path} must belong to {wanted.owner}:{wanted.group}, but {error.args[0]}") from None


def _name(lookup: Callable[[int], Any], number: int) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)
