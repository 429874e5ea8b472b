# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes files where a power cut, or another account, could do harm.

A file is replaced in one step: its new content is on the disk, with its mode and owner, before it gets the name. Links are
never followed: root must not write, nor read, where another account points to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SELINUX = "security.selinux"


@contextlib.contextmanager
def opened_folder(path: Path | str) -> Iterator[int]:
    """Gives a folder's descriptor: what is done with it is done in this folder, whatever becomes of its name."""
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_inside(folder: int, parts: tuple[str, ...]) -> Iterator[int]:
    """Gives the descriptor of a folder below another one. Raises OSError when a link is on the way."""
    descriptor = os.dup(folder)
    try:
        for part in parts:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def sync_folder(path: Path | str) -> None:
    """Brings the names in a folder to the disk."""
    with opened_folder(path) as folder:
        os.fsync(folder)


def require_own(folder: Path | str, option: str) -> None:
    """Refuses a folder in which another account could replace what we write.

    :param option: what the module calls the folder.
    :raises CopilotError: when it belongs to another account than ours, or others may write to it.
    """
    with opened_folder(folder) as descriptor:
        found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CopilotError(
            f"{option}: {folder} belongs to user id {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}, so that "
            f"another account could replace what is written there. It must belong to user id {os.geteuid()}, mode 0755 or less."
        )


def append_to(path: Path | str) -> IO[str]:
    """Opens a text file to append to; makes it when it is not there. Raises OSError for a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o644), "a", encoding="utf-8")


@contextlib.contextmanager
def replaced(
    path: Path | str,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
    check: Callable[[str], None] | None = None,
    exclusive: bool = False,
) -> Iterator[IO[bytes]]:
    """Gives a new file to write to, which takes the place of ``path`` when the block ends well, and vanishes otherwise.

    :param mode: of the new file; None means that of the file before, or 0600.
    :param owner: user and group id; None means those of the file before, or ours.
    :param check: called with the path of the new file before that takes its place; what it raises leaves all as it was.
    :param exclusive: whether ``path`` must be free: FileExistsError when somebody else was quicker.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = f".{name[:100]}.{secrets.token_hex(8)}.new"
    with opened_folder(folder) as parent:
        before = _regular(name, parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                _take_over(file.fileno(), os.path.join(folder, name), before, mode, owner)
                yield file
                file.flush()
                os.fsync(file.fileno())
            if check:
                check(os.path.join(folder, temporary))
            if exclusive:
                os.link(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
                os.unlink(temporary, dir_fd=parent)
            else:
                os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise
        os.fsync(parent)


def write(path: Path | str, content: bytes | str, mode: int | None = None, owner: tuple[int, int] | None = None) -> None:
    """Makes ``content`` the content of a file, in one step. See ``replaced``."""
    with replaced(path, mode, owner) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def link(path: Path | str, target: str) -> None:
    """Makes a symbolic link, in one step, in the place of a file or link that is there."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = f".{name[:100]}.{secrets.token_hex(8)}.new"
    with opened_folder(folder) as parent:
        os.symlink(target, temporary, dir_fd=parent)
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)


def _regular(name: str, folder: int) -> os.stat_result | None:
    try:
        found = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _take_over(
    descriptor: int, path: str, before: os.stat_result | None, mode: int | None, owner: tuple[int, int] | None
) -> None:
    """Gives an empty file owner, mode and SELinux context, before it has a content that somebody could read."""
    if owner:
        os.fchown(descriptor, *owner)
    elif before:
        with contextlib.suppress(PermissionError):  # who is not root cannot keep another's file another's
            os.fchown(descriptor, before.st_uid, before.st_gid)
    if before:
        with contextlib.suppress(OSError):  # most hosts have none
            os.setxattr(descriptor, _SELINUX, os.getxattr(path, _SELINUX, follow_symlinks=False))
    os.fchmod(descriptor, mode if mode is not None else stat.S_IMODE(before.st_mode) if before else 0o600)


def sha256_of_stream(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def sha256_of(path: Path | str) -> str:
    with open(path, "rb") as stream:
        return sha256_of_stream(stream)
