# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versioned directories under one prefix, with a ``current`` link to the version in use.

A release arrives as one archive: the program's files and ``manifest.json``, which holds the sha256 of each of them.
A new version is unpacked beside the others, verified, tried, and only then given its name: whatever is cut off half
way leaves the versions that were there untouched.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import gzip
import io
import json
import os
import posixpath
import secrets
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import (
    opened_folder,
    opened_inside,
    replaced,
    sha256_of,
    sha256_of_stream,
    sync_folder,
)
from ansible_collections.slm.copilot.plugins.module_utils._engine.sandbox import HIDDEN, sandboxed

MANIFEST = "manifest.json"
CURRENT = "current"
SECONDS_TO_TRY = 60
CANNOT_BE_RUN = (126, 127)  # as env says it


def pack(directory: Path, patterns: list[str], archive: Path, details: dict[str, Any]) -> dict[str, Any]:
    """Writes an archive of the files that match, with their manifest; the same files give the same bytes.

    The files may belong to an account that nobody trusts. No link is followed, and each file is copied before it is hashed, so
    that what was hashed is what is packed.

    :param patterns: glob patterns relative to ``directory``; each must match at least one file.
    :param details: what the manifest says besides the checksums.
    :returns: the manifest.
    :raises CopilotError: when a pattern matches nothing, or what matches is no file or link of the directory's own.
    """
    with opened_folder(directory) as root, contextlib.ExitStack() as open_files:
        names: set[str] = set()
        for pattern in patterns:
            matches = list(_matches(root, pattern))
            if not matches:
                raise CopilotError(f"Nothing in {directory} matches {pattern}: the build is not complete. Run it again.")
            names.update(matches)
        members = {}
        for name in sorted(names):
            copy = open_files.enter_context(tempfile.TemporaryFile(dir=archive.parent))
            members[name] = (_member(root, name, copy), copy)
        files = {name: sha256_of_stream(copy) for name, (entry, copy) in members.items() if not entry.issym()}
        manifest = {**details, "files": files}
        content = io.BytesIO(json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n")
        first = tarfile.TarInfo(MANIFEST)
        first.size = len(content.getvalue())
        # A fixed time in the gzip header and in every entry: the archive's checksum then depends on its files alone.
        with (
            replaced(archive, 0o644) as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.addfile(first, content)
            for entry, copy in members.values():
                copy.seek(0)
                tar.addfile(entry, copy)
    return manifest


def _matches(root: int, pattern: str) -> Iterator[str]:
    """Gives the names below a folder that match a pattern; folders that are links have none."""
    head, _slash, tail = pattern.rpartition("/")
    for folder in _matches(root, head) if head else [""]:
        with contextlib.suppress(NotADirectoryError), opened_inside(root, tuple(filter(None, folder.split("/")))) as inside:
            for name in sorted(os.listdir(inside)):
                if fnmatch.fnmatchcase(name, tail) and not name.startswith("."):
                    yield posixpath.join(folder, name)


def _member(root: int, name: str, copy: IO[bytes]) -> tarfile.TarInfo:
    """Returns a file's or link's entry, and copies the file.

    :raises CopilotError: for what is neither, and for a second name of a file that may be somebody else's.
    """
    *folders, last = name.split("/")
    entry = tarfile.TarInfo(name)
    entry.uname = entry.gname = "root"
    with opened_inside(root, tuple(folders)) as folder:
        if stat.S_ISLNK(os.lstat(last, dir_fd=folder).st_mode):
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(last, dir_fd=folder), 0o755
            _check_link(entry)
            return entry
        # Without waiting for who may write to a pipe.
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise CopilotError(f"{name} is not a file of the build's own: remove the build directory, and run again.")
        entry.mode = 0o755 if found.st_mode & 0o100 else 0o644
        shutil.copyfileobj(file, copy)
    entry.size = copy.tell()
    copy.seek(0)
    return entry


def _check_link(entry: tarfile.TarInfo) -> None:
    """Refuses a link to anything but what may be in the same folder. :raises CopilotError: naming it."""
    if "/" in entry.linkname or entry.linkname in ("", ".", ".."):
        raise CopilotError(
            f"The link {entry.name} leads to {entry.linkname!r}, which does not belong there: it was not packed by us."
        )


def manifest_of(version: Path) -> dict[str, Any] | None:
    """Returns the manifest of an installed version; None when it cannot be read, or one of its files is not there.

    Contents are not hashed: they were when they came, and were on the disk before the version got its name.
    """
    try:
        manifest = json.loads((version / MANIFEST).read_text(encoding="utf-8"))
        complete = all(stat.S_ISREG(os.lstat(version / name).st_mode) for name in manifest.get("files", {}))
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return manifest if complete else None


def describe(prefix: Path) -> dict[str, Any]:
    """Returns what is installed under a prefix: ``current``, ``versions`` (oldest first) and the current ``manifest``.

    A version that is not whole is none.
    """
    manifests = {}
    if prefix.is_dir():
        entries = [entry for entry in prefix.iterdir() if entry.name != CURRENT and not entry.name.startswith(".")]
        manifests = {entry: manifest for entry in entries if (manifest := manifest_of(entry)) is not None}
    versions = [entry.name for entry in sorted(manifests, key=lambda entry: (entry.stat().st_mtime, entry.name))]
    link = prefix / CURRENT
    current = os.readlink(link) if link.is_symlink() else None
    if current not in versions:
        return {"current": None, "versions": versions, "manifest": None}
    return {"current": current, "versions": versions, "manifest": manifests[prefix / current]}


def unpack(archive: Path, sha256: str, prefix: Path, version: str, check_command: list[str], check_user: str = "nobody") -> None:
    """Installs a version from an archive, without making it the current one.

    :param sha256: what the whole archive must have.
    :param check_command: program, relative to the version's directory, with arguments; it must succeed.
    :param check_user: who runs it, when we are root.
    :raises CopilotError: when the archive or one of its files is not what was packed, or the program does not run.
    """
    if version in ("", CURRENT) or "/" in version or version.startswith("."):
        raise CopilotError(f"version is {version!r}: give a plain name, which becomes that of a directory.")
    prefix.mkdir(parents=True, exist_ok=True)
    with opened_folder(prefix) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if manifest_of(prefix / version) is None:  # or another run has installed it meanwhile
            _unpack(archive, sha256, prefix, version, check_command, check_user)


def _unpack(archive: Path, sha256: str, prefix: Path, version: str, check_command: list[str], check_user: str) -> None:
    _remove_unfinished(prefix)  # by a run that was killed
    name = f".{version}.{secrets.token_hex(4)}"
    staging = prefix / f"{name}.new"
    try:
        staging.mkdir(0o700)
        with archive.open("rb") as stream:
            actual = sha256_of_stream(stream)
            if actual != sha256:
                raise CopilotError(
                    f"{archive} has sha256 {actual}, but {sha256} was expected: the copy is damaged. "
                    "Remove it on the controller and on the host, and run again."
                )
            stream.seek(0)
            with tarfile.open(fileobj=stream) as tar:
                _extract(tar, staging)
        _verify(staging)
        staging.chmod(0o755)
        if check_command:
            _try(staging, check_command, check_user)
        target = prefix / version
        if target.exists():  # it was damaged, or it would not have come to this
            target.rename(prefix / f"{name}.old")
        staging.rename(target)
        sync_folder(prefix)
    except tarfile.TarError as error:
        raise CopilotError(f"{archive} is not an archive that we packed: {error}.") from error
    finally:
        _remove_unfinished(prefix)


def _remove_unfinished(prefix: Path) -> None:
    for left in (*prefix.glob(".*.new"), *prefix.glob(".*.old")):
        shutil.rmtree(left)


def _extract(tar: tarfile.TarFile, target: Path) -> None:
    """Unpacks files, folders and links, and brings them to the disk.

    Not by tarfile's own methods: what those let through differs between versions of Python, and modes, owners and times of an
    archive are not wanted. Links come last, so that no file is ever written through one.

    :raises CopilotError: for an entry that leaves the folder, is there twice, or is neither of these.
    """
    members = tar.getmembers()
    for member in sorted(members, key=lambda member: member.issym()):
        parts = member.name.split("/")
        if not (member.isreg() or member.issym() or member.isdir()) or {"", ".", ".."} & set(parts):
            raise CopilotError(f"The archive holds {member.name}, which does not belong there: it was not packed by us.")
        path = target.joinpath(*parts)
        try:
            (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
            if member.issym():
                _check_link(member)
                path.symlink_to(member.linkname)
            elif member.isreg():
                _extract_file(tar, member, path)
        except (FileExistsError, NotADirectoryError):
            raise CopilotError(f"The archive holds {member.name} twice: it was not packed by us.") from None
    for folder, folders, _files in os.walk(target, topdown=False):
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), 0o755)  # whatever our umask says
        sync_folder(folder)


def _extract_file(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    content = tar.extractfile(member)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        # Nothing but whether it is a program: no setuid bits, and no others to write.
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
        if content:
            shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _verify(directory: Path) -> None:
    """Holds the unpacked files against their manifest. :raises CopilotError: when they are others."""
    try:
        expected = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CopilotError(f"The archive has no {MANIFEST} that could be read: it was not packed by us.") from None
    there = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file() and not path.is_symlink()}
    for name in there - {MANIFEST} ^ {name for name, _sha256 in expected}:
        raise CopilotError(f"{name} is in the archive or in its manifest, but not in both: build the artifact again.")
    for name, sha256 in expected:
        if sha256_of(directory / name) != sha256:
            raise CopilotError(f"{name} in the archive is not what its manifest says: build the artifact again.")


def _try(directory: Path, command: list[str], user: str) -> None:
    """Runs a new version for the first time; when we are root, in the sandbox that the engine has as a service."""
    whole = [str(directory / command[0]), *command[1:]]
    try:
        done = subprocess.run(
            sandboxed(user, whole) if os.geteuid() == 0 else whole,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS_TO_TRY,
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        raise CopilotError(f"{' '.join(command)} of the new version says nothing for {SECONDS_TO_TRY} seconds.") from None
    output = done.stdout.decode(errors="replace").strip()[-800:]
    if done.returncode in CANNOT_BE_RUN:
        raise CopilotError(
            f"{' '.join(command)} of the new version cannot be run by {user} ({output}): {user} must be able to enter "
            f"{directory.parent}, on a file system without noexec, and not below {', '.join(HIDDEN)}."
        )
    if done.returncode != 0:
        raise CopilotError(f"{' '.join(command)} of the new version does not run here ({done.returncode}): {output}")


def switch(prefix: Path, version: str) -> None:
    """Makes a version the current one, in one step that is never half done."""
    with opened_folder(prefix) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        temporary = prefix / f".{CURRENT}"
        temporary.unlink(missing_ok=True)  # of a run that was killed
        temporary.symlink_to(version)
        os.replace(temporary, prefix / CURRENT)
        sync_folder(prefix)


def superfluous(versions: list[str], current: str, previous: str | None, keep: int, named: str = "") -> list[str]:
    """Returns the versions to remove: the oldest beyond ``keep``, never the current, the previous or a named one.

    :param versions: oldest first.
    :param named: text with the names of versions that are needed.
    """
    spare = [version for version in versions if version not in (current, previous) and version not in named]
    kept = len(versions) - len(spare)
    room = max(0, keep - kept)
    return spare[: len(spare) - room] if room < len(spare) else []
