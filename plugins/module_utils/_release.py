# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versioned directories under one prefix, with a ``current`` link to the version in use.

A release arrives as one archive: the program's files and ``manifest.json``, which holds the sha256 of each of them.
A new version is unpacked beside the others, verified, tried, and only then given its name: whatever is cut off half
way leaves the versions that were there untouched.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._errors import CopilotError

MANIFEST = "manifest.json"
CURRENT = "current"
_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def pack(directory: Path, patterns: list[str], archive: Path, details: dict[str, Any]) -> dict[str, Any]:
    """Writes an archive of the files that match, with their manifest; the same files give the same bytes.

    :param patterns: glob patterns relative to ``directory``; each must match at least one file.
    :param details: what the manifest says besides the checksums.
    :returns: the manifest.
    :raises CopilotError: when a pattern matches nothing.
    """
    members: dict[str, Path] = {}
    for pattern in patterns:
        matches = sorted(directory.glob(pattern))
        if not matches:
            raise CopilotError(f"Nothing in {directory} matches {pattern}: the build is not complete. Run it again.")
        members.update((match.relative_to(directory).as_posix(), match) for match in matches)
    files = {name: sha256_of(path) for name, path in members.items() if not path.is_symlink()}
    manifest = {**details, "files": files}
    temporary = archive.with_name(f".{archive.name}.tmp")
    # A fixed time in the gzip header and in every entry: the archive's checksum then depends on its files alone.
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, MANIFEST, io.BytesIO(json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"))
            for name, path in sorted(members.items()):
                _add(tar, name, path)
        zipped.flush()
    os.replace(temporary, archive)
    return manifest


def _add(tar: tarfile.TarFile, name: str, content: Path | io.BytesIO) -> None:
    if isinstance(content, Path):
        entry = tar.gettarinfo(content, name)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode = 0o755 if content.stat().st_mode & 0o100 else 0o644
        entry.mtime = 0
        if entry.issym():
            tar.addfile(entry)
            return
        with content.open("rb") as stream:
            tar.addfile(entry, stream)
    else:
        entry = tarfile.TarInfo(name)
        entry.size = len(content.getvalue())
        entry.mode = 0o644
        tar.addfile(entry, content)


def describe(prefix: Path) -> dict[str, Any]:
    """Returns what is installed under a prefix: ``current``, ``versions`` (oldest first) and the current ``manifest``."""
    versions = []
    if prefix.is_dir():
        manifests = [(entry.stat().st_mtime, entry.name) for entry in prefix.iterdir() if (entry / MANIFEST).is_file()]
        versions = [name for _mtime, name in sorted(manifests) if name != CURRENT and not name.startswith(".")]
    link = prefix / CURRENT
    current = os.readlink(link) if link.is_symlink() else None
    if current not in versions:
        return {"current": None, "versions": versions, "manifest": None}
    return {
        "current": current,
        "versions": versions,
        "manifest": json.loads((prefix / current / MANIFEST).read_text()),
    }


def unpack(archive: Path, sha256: str, prefix: Path, version: str, check_command: list[str]) -> None:
    """Installs a version from an archive, without making it the current one.

    :param sha256: what the whole archive must have.
    :param check_command: program, relative to the version's directory, with arguments; it must succeed.
    :raises CopilotError: when the archive or one of its files is not what was packed, or the program does not run.
    """
    actual = sha256_of(archive)
    if actual != sha256:
        raise CopilotError(
            f"{archive} has sha256 {actual}, but {sha256} was expected: the copy is damaged. "
            "Remove it on the controller and on the host, and run again."
        )
    prefix.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=prefix, prefix=f".{version}."))
    try:
        with tarfile.open(archive) as tar:
            _extract(tar, staging)
        _verify(staging)
        if check_command:
            _try(staging, check_command)
        staging.chmod(0o755)
        target = prefix / version
        if target.exists():  # it was damaged, or it would not have come to this
            target.rename(staging.with_name(f"{staging.name}.old"))
        staging.rename(target)
    finally:
        for left in prefix.glob(f"{staging.name}*"):
            shutil.rmtree(left)


def _extract(tar: tarfile.TarFile, target: Path) -> None:
    for member in tar.getmembers():
        parts = Path(member.name).parts
        inside = ".." not in parts and not Path(member.name).is_absolute()
        link_inside = not member.issym() or "/" not in member.linkname
        if not (inside and link_inside and (member.isfile() or member.issym() or member.isdir())):
            raise CopilotError(f"The archive holds {member.name}, which does not belong there: it was not packed by us.")
        tar.extract(member, target)


def _verify(directory: Path) -> None:
    for name, expected in json.loads((directory / MANIFEST).read_text())["files"].items():
        if sha256_of(directory / name) != expected:
            raise CopilotError(f"{name} in the archive is not what its manifest says: build the artifact again.")


def _try(directory: Path, command: list[str]) -> None:
    program = [str(directory / command[0]), *command[1:]]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace").strip()[-800:]
        raise CopilotError(f"{' '.join(command)} of the new version does not run here ({done.returncode}): {output}")


def switch(prefix: Path, version: str) -> None:
    """Makes a version the current one, in one step that is never half done."""
    temporary = prefix / f".{CURRENT}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(version)
    os.replace(temporary, prefix / CURRENT)


def superfluous(versions: list[str], current: str, previous: str | None, keep: int) -> list[str]:
    """Returns the versions to remove: the oldest beyond ``keep``, never the current nor the previous one.

    :param versions: oldest first.
    """
    spare = [version for version in versions if version not in (current, previous)]
    kept = len(versions) - len(spare)
    room = max(0, keep - kept)
    return spare[: len(spare) - room] if room < len(spare) else []
