# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manifest of a bundle: writes, signs and reads it, and compares it with the folder.

MANIFEST.json has one sorted line per file, so that the same files always produce the same manifest, and a shell without a JSON
parser can read paths and checksums. Only its signature must be trusted, since it contains all checksums.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import replaced, sha256_of, write

FORMAT = 1
NAME, SIGNATURE = "MANIFEST.json", "MANIFEST.json.sig"
NAMESPACE = "slm-copilot-bundle"  # a signature that was made for something else is none
PART_MIB = 3_900  # below what FAT32 can hold
BLOCK = 1 << 20
ON_HOSTS = ("deb", "index", "wheel")  # kinds of files of which a host is given all
_SAFE = re.compile(r"(?!.*(^|/)\.{1,2}(/|$))[A-Za-z0-9][\w.+~%:@=-]*(/[\w.+~%:@=-]+)*", re.ASCII)

Watch = Callable[[int, int], None]  # bytes done, bytes of all


def render(manifest: dict[str, Any]) -> bytes:
    """Returns the bytes of a manifest: keys and files sorted, a file in a line."""
    files = sorted(manifest["files"], key=lambda one: str(one["path"]))
    rest = {key: value for key, value in manifest.items() if key != "files"}
    lines = ",\n".join(json.dumps(one, sort_keys=True) for one in files)
    head = json.dumps(rest | {"format": FORMAT}, indent=1, sort_keys=True)
    return f'{head[:-2]},\n "files": [\n{lines}\n]}}\n'.encode()


def parse(content: bytes) -> dict[str, Any]:
    """Reads a manifest whose signature was verified.

    :raises CopilotError: it is of a format that this version does not know, or names a path outside the bundle.
    """
    try:
        manifest: dict[str, Any] = json.loads(content)
        found = manifest.get("format")
    except (ValueError, AttributeError) as error:
        raise CopilotError(f"{NAME} is not the manifest of a bundle: {error}.") from None
    if found != FORMAT:
        raise CopilotError(
            f"{NAME} has format {found}, and this version of the collection reads {FORMAT}. Use the bundle's own install."
        )
    for one in manifest["files"]:
        if not _SAFE.fullmatch(one["path"]):
            raise CopilotError(f"{NAME} names {one['path']!r}, which is no path inside a bundle.")
    return manifest


def sign(folder: Path, key: str) -> None:
    """Signs the manifest with the operator's SSH key. A public key's private half is asked of the agent.

    :raises CopilotError: ssh-keygen cannot.
    """
    done = _ssh_keygen(["-Y", "sign", "-q", "-f", key, "-n", NAMESPACE], (folder / NAME).read_bytes())
    if done.returncode:
        raise CopilotError(
            f"bundle_key: ssh-keygen cannot sign with {key}: {_said(done)} Give a private key without a passphrase, or the "
            "public half of a key that ssh-agent holds."
        )
    write(folder / SIGNATURE, done.stdout, 0o644)


def is_signed(folder: Path, key: str) -> bool:
    """Says whether the manifest has the signature that ``sign`` would write with this key."""
    if not (folder / SIGNATURE).is_file():
        return False
    line = Path(key).read_bytes()
    if not line.startswith((b"ssh-", b"ecdsa-", b"sk-")):  # the private half
        done = _ssh_keygen(["-y", "-P", "", "-f", key], b"")
        if done.returncode:
            return False  # as sign will say
        line = done.stdout
    return not _verify(folder, line.decode(errors="replace").strip(), (folder / NAME).read_bytes()).returncode


def read(folder: Path, public_key: str) -> dict[str, Any]:
    """Returns the manifest of a bundle, once its signature is verified.

    :param public_key: path of the operator's public key, of one line as ssh-keygen writes it.
    :raises CopilotError: it is not there, not signed, or not by this key.
    """
    try:
        content, _signature = (folder / NAME).read_bytes(), (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise CopilotError(f"copilot_bundle: {error.filename}: {error.strerror}. Name the folder of a complete bundle.") from None
    try:
        line = Path(public_key).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise CopilotError(f"copilot_bundle_key: {public_key} cannot be read as a public key: {error}.") from None
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?", line):
        raise CopilotError(
            f"copilot_bundle_key: {public_key} is no public SSH key of one line. Give the .pub file of the bundle's key."
        )
    done = _verify(folder, line, content)
    if done.returncode:
        raise CopilotError(
            f"{folder}: the signature of {NAME} is not that of {public_key} ({_said(done)}) The manifest or its signature was "
            "changed, or somebody else signed it. Nothing of the bundle was used: fetch it again, or ask its maker for the key."
        )
    return parse(content)


def _verify(folder: Path, line: str, content: bytes) -> subprocess.CompletedProcess[bytes]:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".signers") as signers:
        signers.write(f'bundle namespaces="{NAMESPACE}" {line}\n')
        signers.flush()
        verify = ["-Y", "verify", "-f", signers.name, "-I", "bundle", "-n", NAMESPACE, "-s", str(folder / SIGNATURE)]
        return _ssh_keygen(verify, content)


def _ssh_keygen(arguments: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", *arguments], input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise CopilotError("ssh-keygen is not there. Install openssh-client on this machine.") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    said = (done.stderr or done.stdout).decode(errors="replace").strip()
    return (said or f"exit status {done.returncode}").rstrip(".") + "."


def parts_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the files as they lie in the folder, each with path, size and sha256: the file itself, or its parts."""
    if "parts" not in entry:
        return [entry]
    return [{"path": part_name(entry["path"], number), **part} for number, part in enumerate(entry["parts"])]


def part_name(path: str, number: int) -> str:
    return f"{path}.part-{number:03d}"


def for_target(manifest: dict[str, Any], target: str) -> list[dict[str, Any]]:
    """Returns the files that hosts of a target need."""
    return [one for one in manifest["files"] if not one["targets"] or target in one["targets"]]


def require_target(manifest: dict[str, Any], folder: Path, targets: Iterable[str]) -> None:
    """Raises CopilotError when a bundle is not for one of these kinds of hosts."""
    if foreign := sorted(set(targets) - manifest["targets"].keys()):
        raise CopilotError(
            f"The bundle {folder} is for {', '.join(sorted(manifest['targets']))}, and not for {', '.join(foreign)}. "
            "Nothing was changed. Take those hosts out of the inventory, or make a bundle for them (bundle_targets)."
        )


def problems(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Returns which files of a folder are missing, too short, too long or not in the manifest. It reads no file's content."""
    listed = {part["path"]: part["size"] for one in manifest["files"] for part in parts_of(one)}
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    found = [f"{name} is not in {NAME}: remove it" for name in sorted(there.keys() - listed.keys() - {NAME, SIGNATURE})]
    for name, size in sorted(listed.items()):
        if name not in there:
            found.append(f"{name} is missing: copy it again")
        elif there[name].is_symlink():
            found.append(f"{name} is a link: copy the file itself")
        elif (now := there[name].stat().st_size) != size:
            found.append(f"{name} has {now} bytes instead of {size}: copy it again")
    return found


def damaged(folder: Path, files: Iterable[dict[str, Any]], watch: Watch = lambda _done, _all: None) -> list[str]:
    """Returns the files whose content is not what the manifest says, each by the name that it has in the folder."""
    parts = [part for one in files for part in parts_of(one)]
    total, done, found = sum(part["size"] for part in parts), 0, []
    for part in parts:
        digest = hashlib.sha256()
        with open(folder / part["path"], "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                done += len(block)
                watch(done, total)
        if digest.hexdigest() != part["sha256"]:
            found.append(f"{part['path']} is damaged (its sha256 is not that of {NAME}): copy it again")
    return found


def require_whole(found: list[str], folder: Path) -> None:
    """Raises CopilotError with all problems of a bundle, when there are any."""
    if found:
        raise CopilotError(
            "\n".join([f"The bundle {folder} cannot be used. Nothing was changed.", *(f"- {one}" for one in found)])
        )


def put(
    source: Path, folder: Path, path: str, part_bytes: int | None = None, known: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Copies a file into a bundle and returns its path, size, sha256 and parts.

    What is there already is not written again.

    :param part_bytes: what is larger is written in parts of this size.
    :param known: path and sha256, with a blank between them, of what is not written at all, since an older bundle has it.
    """
    size = source.stat().st_size
    part_bytes = part_bytes or max(size, 1)
    whole, parts = hashlib.sha256(), []
    with open(source, "rb") as file:
        for number in range(-(-size // part_bytes) or 1):
            name = path if size <= part_bytes else part_name(path, number)
            parts.append(_put_part(file, folder, name, min(part_bytes, size - number * part_bytes), whole, known))
    entry = {"path": path, "size": size, "sha256": whole.hexdigest()}
    return entry if size <= part_bytes else entry | {"parts": parts}


def _put_part(file: IO[bytes], folder: Path, name: str, size: int, whole: Any, known: frozenset[str]) -> dict[str, Any]:
    """Writes the next bytes of a file, unless they are there already."""
    there, digest, start = folder / name, hashlib.sha256(), file.tell()
    for block in _blocks(file, size):
        digest.update(block)
        whole.update(block)
    is_known = f"{name} {digest.hexdigest()}" in known
    if not is_known and not (there.is_file() and there.stat().st_size == size and sha256_of(there) == digest.hexdigest()):
        there.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replaced(there, 0o644) as target:
                file.seek(start)
                for block in _blocks(file, size):
                    target.write(block)
        except OSError as error:
            raise CopilotError(
                f"bundle_dir: {there} cannot be written: {error.strerror}. Free some space, and run again: it resumes."
            ) from None
    return {"size": size, "sha256": digest.hexdigest()}


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(BLOCK, size))):
        size -= len(block)
        yield block


class Joined:
    """A file of a bundle that lies there in parts, to read from any place. It needs no copy of the whole."""

    def __init__(self, path: str) -> None:
        first = Path(part_name(path, 0))
        self.paths = sorted(first.parent.glob(f"{Path(path).name}.part-*")) if first.exists() else [Path(path)]
        self.sizes = [one.stat().st_size for one in self.paths]
        self.size = sum(self.sizes)
        self._at = 0

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, length: int) -> bytes:
        start = 0
        for path, size in zip(self.paths, self.sizes, strict=True):
            if self._at < start + size:
                with open(path, "rb") as file:
                    file.seek(self._at - start)
                    block = file.read(length)
                self._at += len(block)
                return block
            start += size
        return b""
