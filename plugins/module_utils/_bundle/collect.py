# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Downloads the contents of a bundle on a machine with internet access: Debian packages, wheels, collections.

Files are stored in a cache folder first, so that apt and pip resume an interrupted run.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import Target
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.programs import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Mirrors:
    """Addresses of Debian's archives."""

    debian: str
    security: str


def debian_packages(target: Target, names: list[str], mirrors: Mirrors, cache: Path) -> list[Path]:
    """Fetches packages and all that they need on a host that has nothing, verified by Debian's signatures.

    :raises CopilotError: apt cannot, with its words.
    """
    root = cache / "apt" / target.name
    for folder in ("lists/partial", "archives/partial", "nothing/partial", "etc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    suites = [(mirrors.debian, target.codename), (mirrors.debian, f"{target.codename}-updates")]
    suites.append((mirrors.security, f"{target.codename}-security"))
    lines = [f"deb [arch={target.architecture} signed-by={KEYRING}] {address} {suite} main\n" for address, suite in suites]
    (root / "sources.list").write_text("".join(lines))
    (root / "apt.conf").write_text(
        "".join(
            f'{name} "{value}";\n'
            for name, value in {
                "Dir::Etc": f"{root}/etc",
                "Dir::Etc::sourcelist": f"{root}/sources.list",
                "Dir::Etc::sourceparts": "/dev/null",
                "Dir::Etc::preferences": "/dev/null",
                "Dir::Etc::preferencesparts": "/dev/null",
                "Dir::State::lists": f"{root}/lists",
                "Dir::State::status": f"{root}/status",
                "Dir::State::extended_states": f"{root}/extended_states",
                "Dir::Cache::archives": f"{root}/archives",
                "Dir::Cache::pkgcache": "",
                "Dir::Cache::srcpkgcache": "",
                "APT::Architecture": target.architecture,
                "APT::Architectures": target.architecture,
                "APT::Install-Recommends": "false",
                "APT::Get::AllowUnauthenticated": "false",
                "APT::Sandbox::User": "root",
                "Acquire::Languages": "none",
                "Debug::NoLocking": "true",
            }.items()
        )
    )
    install = ["install", "--yes", "--no-install-recommends", *names]
    _apt(root, ["update"])
    listed = _apt(root, ["-o", f"Dir::Cache::archives={root}/nothing", "--print-uris", *install])
    _apt(root, ["--download-only", *install])
    wanted = [line.split()[1] for line in listed.splitlines() if line.startswith("'")]
    return sorted(root / "archives" / name for name in wanted)


def _apt(root: Path, arguments: list[str]) -> str:
    return run(["apt-get", "-qq", *arguments], f"apt of {root.name}", env={"APT_CONFIG": f"{root}/apt.conf"})


def index(packages: list[Path], target: Target, signer: Path) -> dict[str, bytes]:
    """Returns the files that make a folder of packages a repository that apt can verify, by name.

    :param signer: folder of gpg with the key that signs; it is made where it is not there.
    """
    stanzas = []
    for package in packages:
        control = run(["dpkg-deb", "--field", str(package)], package.name).rstrip("\n")
        sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
        stanzas.append(f"{control}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {sha256}\n")
    content = "\n".join(stanzas).encode()
    release = (
        f"Origin: slm.copilot\nSuite: {target.codename}\nCodename: {target.codename}\nArchitectures: {target.architecture} all\n"
        # Always the same, so that the same packages give the same bytes; what is current is said by the bundle's own signature.
        f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {hashlib.sha256(content).hexdigest()} {len(content)} Packages\n"
    )
    gpg = ["gpg", "--homedir", str(signer), "--batch", "--quiet", "--no-tty", "--faked-system-time", "20260101T000000!"]
    if not (signer / "key.asc").exists():
        signer.mkdir(parents=True, exist_ok=True, mode=0o700)
        run([*gpg, "--passphrase", "", "--quick-generate-key", "slm.copilot bundle", "ed25519", "sign", "never"], "gpg")
        (signer / "key.asc").write_text(run([*gpg, "--armor", "--export"], "gpg"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Release").write_text(release)
        run([*gpg, "--clearsign", "--output", "InRelease", "Release"], "gpg", cwd=Path(folder))
        signed = (Path(folder) / "InRelease").read_bytes()
    return {"Packages": content, "InRelease": signed, "key.asc": (signer / "key.asc").read_bytes()}


def requirements_for(lock: str, target: Target) -> str:
    """Returns the requirements of a universal lock that hold for a target, without their markers."""
    from packaging.markers import Marker  # noqa: PLC0415 - ansible-core needs it, so that it is on every controller

    kept = []
    logical = re.sub(r"\\\n\s*", " ", lock)
    for line in logical.splitlines():
        requirement, *hashes = (line if not line.lstrip().startswith("#") else "").partition(" #")[0].split(" --hash=")
        name, _semicolon, marker = requirement.partition(";")
        if name.strip() and (not marker.strip() or Marker(marker.strip()).evaluate(target.markers)):
            kept.append(" ".join([name.strip(), *(f"--hash={one.strip()}" for one in hashes)]))
    return "\n".join(kept) + "\n"


def wheels(target: Target, locks: list[str], cache: Path) -> list[Path]:
    """Fetches the wheels that locks name, by their hashes, and returns them."""
    pip = cache / "pip"
    if not (pip / "bin/pip").exists():
        run([sys.executable, "-m", "venv", str(pip)], "venv")
    found = set()
    for lock in locks:
        requirements = requirements_for(lock, target)
        if not requirements.strip():
            continue
        folder = cache / "wheels" / f"{target.name}-{hashlib.sha256(requirements.encode()).hexdigest()[:12]}"
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "requirements.txt").write_text(requirements)
            command = [
                f"{pip}/bin/python",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                f"--dest={folder}",
                # pip writes to dest in the end alone: a run that was cut finds there what it had fetched.
                f"--cache-dir={folder}/fetched",
            ]
            run([*command, *target.pip_options, f"--requirement={folder}/requirements.txt"], f"pip for {target.name}")
            shutil.rmtree(folder / "fetched", ignore_errors=True)
            (folder / "complete").touch()
        found |= set(folder.glob("*.whl"))
    return sorted(found)


def wheel_details(wheel: Path) -> dict[str, Any]:
    """Returns purl, licence and unpacked size of a wheel."""
    with ZipFile(wheel) as archive:
        unpacked = sum(one.file_size for one in archive.infolist())
        name = next(one for one in archive.namelist() if one.count("/") == 1 and one.endswith(".dist-info/METADATA"))
        about = HeaderParser().parsestr(archive.read(name).decode())
    licence = about.get("License-Expression") or (about.get("License") or "").partition("\n")[0]
    licence = licence or ", ".join(
        one.rpartition(":: ")[2] for one in about.get_all("Classifier", []) if one.startswith("License")
    )
    project = re.sub(r"[-_.]+", "-", str(about["Name"])).lower()
    return {"origin": f"pkg:pypi/{project}@{about['Version']}", "licence": licence or "see the wheel", "unpacked": unpacked}


def installed_sizes(packages: bytes) -> dict[str, int]:
    """Returns how many bytes each package takes once it is installed, by the name of its file, out of a repository's index."""
    stanzas = map(HeaderParser().parsestr, packages.decode().split("\n\n"))
    return {one["Filename"].removeprefix("./"): int(one["Installed-Size"] or 0) << 10 for one in stanzas}


def deb_details(deb: Path, target: Target) -> dict[str, str]:
    """Returns purl and licence of a Debian package."""
    name, version, architecture = unquote(deb.name.removesuffix(".deb")).split("_")
    return {
        "origin": f"pkg:deb/debian/{name}@{version}?arch={architecture}&distro={target.codename}",
        "licence": f"/usr/share/doc/{name}/copyright",
    }


def collection(folder: Path, cache: Path) -> Path:
    """Packs a collection, as it is installed or as it is checked out, in always the same bytes; returns the archive."""
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    with tempfile.TemporaryDirectory() as temporary:
        if not (folder / "MANIFEST.json").exists():
            folder = _known_to_git(folder, Path(temporary, "checkout"))
            run([str(galaxy), "collection", "build", "--output-path", temporary, str(folder)], "ansible-galaxy")
            (built,) = Path(temporary).glob("*.tar.gz")
            with tarfile.open(built) as archive:
                archive.extractall(f"{temporary}/unpacked", filter="data")
            folder = Path(temporary, "unpacked")
        # The ansible package leaves some files out that a collection's own list has, such as hidden ones.
        listed = json.loads((folder / "FILES.json").read_text())
        listed["files"] = [one for one in listed["files"] if (folder / one["name"]).exists()]
        files = json.dumps(listed, indent=1).encode()
        about = json.loads((folder / "MANIFEST.json").read_text())
        about["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(files).hexdigest()
        info = about["collection_info"]
        name = f"{info['namespace']}-{info['name']}-{info['version']}.tar.gz"
        (cache / "collections").mkdir(parents=True, exist_ok=True)
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
            add(archive, "MANIFEST.json", json.dumps(about, indent=1).encode())
            add(archive, "FILES.json", files)
            for path, kind in sorted((one["name"], one["ftype"]) for one in listed["files"] if one["name"] != "."):
                if kind == "dir":
                    member = tarfile.TarInfo(path)
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(member)
                else:
                    add(archive, path, (folder / path).read_bytes(), (folder / path).stat().st_mode & 0o100)
        (cache / "collections" / name).write_bytes(gzip.compress(raw.getvalue(), mtime=0))
    return cache / "collections" / name


def _known_to_git(checkout: Path, copy: Path) -> Path:
    """Copies what git knows of a checkout. Whatever else lies there, such as keys and images, is not the collection's."""
    for name in filter(None, run(["git", "-C", str(checkout), "ls-files", "-z"], "the collection's files").split("\0")):
        if (checkout / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, copy / name)
    return copy


def add(archive: tarfile.TarFile, path: str, content: bytes, executable: int = 0) -> None:
    """Adds a file that belongs to root and has no time."""
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(content), 0o755 if executable else 0o644
    archive.addfile(member, io.BytesIO(content))


def collection_folder(name: str) -> Path:
    """Returns where an installed collection is.

    :raises CopilotError: it is not installed.
    """
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    found = json.loads(run([str(galaxy), "collection", "list", name, "--format", "json"], "ansible-galaxy"))
    for path in found:
        return Path(path, *name.split("."))
    raise CopilotError(f"The collection {name} is not installed here. Install it with ansible-galaxy, and run again.")


def sbom(files: list[dict[str, Any]], version: str) -> bytes:
    """Returns the bill of materials of a bundle, in CycloneDX 1.6."""
    components = [
        {
            "type": {"model": "machine-learning-model"}.get(one["kind"], "library"),
            "bom-ref": one["path"],
            "name": one["path"].rpartition("/")[2],
            "hashes": [{"alg": "SHA-256", "content": one["sha256"]}],
            "licenses": [{"license": {"name": one["licence"]}}],
            **({"purl": one["origin"]} if one["origin"].startswith("pkg:") else {"description": one["origin"]}),
        }
        for one in sorted(files, key=lambda one: str(one["path"]))
    ]
    product = {"type": "application", "name": "slm.copilot bundle", "version": version}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": product}}
    return (json.dumps(document | {"components": components}, indent=1, sort_keys=True) + "\n").encode()


def remove_others(folder: Path, kept: set[str]) -> list[str]:
    """Removes files that are no longer part of a bundle; returns their names."""
    gone = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in kept]
    for path in gone:
        path.unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            shutil.rmtree(path)
    return sorted(path.relative_to(folder).as_posix() for path in gone)
