#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: Collect everything that hosts without internet access need in one signed folder
version_added: 0.1.0
description:
  - Downloads Debian packages with their dependencies, wheels by their hashes, and collections, and copies engines and models.
  - Writes C(MANIFEST.json) with the checksum, origin and licence of each file, its signature, and a software bill of materials
    (SBOM).
  - The same inputs produce identical files. An interrupted run is resumed, and a run with nothing new changes nothing.
requirements:
  - Debian with apt, gnupg and openssh-client on the machine that runs it
options:
  path:
    description: Folder of the bundle. It must be empty or contain a bundle.
    type: path
    required: true
  key:
    description: SSH private key that signs the bundle, or the public half of a key that ssh-agent holds.
    type: path
    required: true
  cache:
    description: Folder for downloads, which later runs reuse.
    type: path
    required: true
  targets:
    description: Platforms of the hosts, such as V(bookworm-amd64).
    type: list
    elements: str
    required: true
  engines:
    description:
      - Engine of each target, with the C(path) of its archive, and with C(id) and C(artifact) as returned by
        P(slm.copilot.engine_build_plan#filter).
      - The checksum of the archive is beside it, with C(.sha256) appended. An archive that was compiled for something else is
        refused.
    type: dict
    default: {}
  models:
    description: Models by ID, with C(path), C(licence), C(origin) and C(entry), the catalogue entry.
    type: dict
    default: {}
  requirements:
    description: Requirements files with hashes for the venvs on hosts and on the controller.
    type: list
    elements: path
    default: []
  collections:
    description: Folders of collections, or names of installed collections.
    type: list
    elements: str
    default: []
  packages:
    description: Debian packages that the roles install.
    type: list
    elements: str
    default: []
  install:
    description: The script that sets up a controller, and the requirements file that it installs.
    type: list
    elements: path
    default: []
  debian_mirror:
    description: URL of Debian's archive.
    type: str
    default: http://deb.debian.org/debian
  security_mirror:
    description: URL of Debian's security archive.
    type: str
    default: http://deb.debian.org/debian-security
  part_mib:
    description: Size in MiB of the parts into which larger models are split. The default fits on FAT32.
    type: int
    default: 3900
  base:
    description: Folder of an older bundle. Only files that it lacks are written; copy them into it.
    type: path
attributes:
  check_mode:
    support: none
    description: The content of a bundle is known only after the downloads.
  diff_mode:
    support: none
    description: A bundle has no diff.
  idempotent:
    support: full
    description: Changes nothing if the manifest would be the same.
extends_documentation_fragment:
  - slm.copilot.long_job
seealso:
  - module: slm.copilot.bundle_info
  - module: slm.copilot.bundle_archive
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Write a bundle
  slm.copilot.bundle:
    path: /media/usb/bundle
    key: ~/.ssh/bundle
    cache: ~/.cache/slm-copilot/bundle
    targets: [bookworm-amd64]
    packages: [haproxy, python3-venv]
"""

RETURN = r"""
bytes:
  description: Size of the files in this folder in bytes.
  returned: success
  type: int
  sample: 14700000000
files:
  description: Number of files in the whole bundle, including each part of a model.
  returned: success
  type: int
  sample: 231
written:
  description: Number of these files in this folder, which is smaller if O(base) is given.
  returned: success
  type: int
  sample: 231
sha256:
  description: SHA-256 of the manifest.
  returned: success
  type: str
  sample: 4a0b3c...
"""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._bundle import collect, manifest
from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import Target, named
from ansible_collections.slm.copilot.plugins.module_utils._common import files
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import MANIFEST


def engine(target: Target, given: dict[str, str]) -> tuple[Path, Path, int]:
    """Returns the archive, the checksum and the unpacked size of an engine.

    :raises CopilotError: it was compiled for other hosts, from another source, or is not what its checksum says.
    """
    archive = Path(given["path"])
    try:
        with tarfile.open(archive) as tar:
            about = json.load(tar.extractfile(MANIFEST) or io.BytesIO())
            unpacked = sum(one.size for one in tar)
        found = f"{about['version']} for {about['platform']}"
    except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise CopilotError(
            f"bundle_engines: {archive} is no engine that slm.copilot.site compiled ({error}). Name the archive from its cache."
        ) from None
    if about.get("id") != given["id"]:
        raise CopilotError(
            f"bundle_engines: {archive} is {found}, and {target.name} needs {given['artifact']}. Compile that once, with "
            "slm.copilot.site -t engine on such a host."
        )
    checksum = archive.with_name(f"{archive.name}.sha256")
    if not checksum.is_file() or checksum.read_text().split()[:1] != [files.sha256_of(archive)]:
        raise CopilotError(f"bundle_engines: {checksum} is not there, or not the checksum of {archive}. Copy both again.")
    return archive, checksum, unpacked


def sources(params: dict[str, Any], progress: ProgressFile) -> list[tuple[Path | bytes, dict[str, Any]]]:
    """Downloads everything. Returns the path or the content of each file, and its manifest entry."""
    targets = named(params["targets"])
    given = params["engines"]
    engines = {target.name: engine(target, given[target.name]) for target in targets if target.name in given}
    cache = Path(params["cache"])
    cache.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Path | bytes, dict[str, Any]]] = []

    def take(source: Path | bytes, path: str, kind: str, names: list[str], **details: Any) -> None:
        found.append((source, {"path": path, "kind": kind, "targets": names, **details}))

    mirrors = collect.Mirrors(params["debian_mirror"], params["security_mirror"])
    ours = {"origin": "slm.copilot", "licence": "GPL-3.0-or-later"}
    pool: dict[str, tuple[Path, list[str]]] = {}
    for number, target in enumerate(targets):
        progress.update("fetching Debian packages", 2 * number, 2 * len(targets), "steps")
        packages = collect.debian_packages(target, params["packages"], mirrors, cache)
        index = collect.index(packages, target, cache / "gnupg")
        unpacked = collect.installed_sizes(index["Packages"])
        for package in packages:
            details = collect.deb_details(package, target)
            take(package, f"debs/{target.name}/{package.name}", "deb", [target.name], unpacked=unpacked[package.name], **details)
        for name, content in index.items():
            take(content, f"debs/{target.name}/{name}", "index", [target.name], **ours)
        progress.update("fetching wheels", 2 * number + 1, 2 * len(targets), "steps")
        for wheel in collect.wheels(target, [Path(one).read_text() for one in params["requirements"]], cache):
            pool.setdefault(wheel.name, (wheel, []))[1].append(target.name)
    for name, (wheel, names) in pool.items():
        take(wheel, f"wheels/{name}", "wheel", names, **collect.wheel_details(wheel))
    for target in targets:
        if target.name in engines:
            archive, checksum, size = engines[target.name]
            name = f"engine/{given[target.name]['artifact']}"
            llama_cpp = {"origin": "pkg:github/ggml-org/llama.cpp", "licence": "MIT"}
            take(archive, name, "engine", [target.name], unpacked=size, **llama_cpp)
            take(checksum, f"{name}.sha256", "engine", [target.name], **llama_cpp)
    for model in params["models"].values():
        path = Path(model["path"])
        take(path, f"models/{path.name}", "model", [], origin=model["origin"], licence=model["licence"])
    for one in params["collections"]:
        archive = collect.collection(Path(one) if "/" in one else collect.collection_folder(one), cache)
        take(
            archive, f"collections/{archive.name}", "collection", [], origin=f"galaxy:{archive.name}", licence="GPL-3.0-or-later"
        )
    for one in params["install"]:
        take(Path(one), Path(one).name, "install", [], **ours)
    return found


def write(params: dict[str, Any], progress: ProgressFile) -> dict[str, Any]:
    folder, base = Path(params["path"]), params["base"]
    if not 0 < params["part_mib"] < 4096:
        raise CopilotError(f"bundle_part_mib is {params['part_mib']}: give a size in MiB from 1 to 4095, the limit of FAT32.")
    old = (folder / manifest.NAME).read_bytes() if (folder / manifest.NAME).is_file() else b""
    if folder.is_dir() and any(folder.iterdir()) and not old and not (folder / ".slm-copilot-bundle").exists():
        raise CopilotError(f"bundle_dir: {folder} contains something other than a bundle. Name an empty folder or a new one.")
    found = sources(params, progress)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".slm-copilot-bundle").touch()  # until it is whole
    known = frozenset(f"{part['path']} {part['sha256']}" for one in _entries(base) for part in manifest.parts_of(one))
    own = next((one["path"] for _source, one in found if one["path"].startswith("collections/slm-copilot-")), "")
    version = own.removeprefix("collections/slm-copilot-").removesuffix(".tar.gz")
    made = Path(params["cache"]) / "content"
    entries: list[dict[str, Any]] = []

    def put(source: Path | bytes, details: dict[str, Any]) -> None:
        if isinstance(source, bytes):
            made.write_bytes(source)
        part_bytes = params["part_mib"] << 20 if details["kind"] == "model" else None
        file = made if isinstance(source, bytes) else source
        entries.append(manifest.put(file, folder, details["path"], part_bytes, known) | details)

    for done, (source, details) in enumerate(found):
        progress.update("writing", done, len(found), "files")
        put(source, details)
    listed = collect.sbom(entries, version)
    put(listed, {"path": "sbom.cdx.json", "kind": "sbom", "targets": [], "origin": "slm.copilot", "licence": "GPL-3.0-or-later"})
    new = manifest.render(
        {
            "product": {"name": "slm.copilot", "version": version},
            "targets": {one.name: one.facts | {"python": one.python} for one in named(params["targets"])},
            "models": {
                name: model["entry"] | {"file": f"models/{Path(model['path']).name}"} for name, model in params["models"].items()
            },
            "files": entries,
        }
    )
    parts = [part for one in entries for part in manifest.parts_of(one)]
    kept = {part["path"] for part in parts if f"{part['path']} {part['sha256']}" not in known}
    removed = collect.remove_others(folder, kept | {manifest.NAME, manifest.SIGNATURE})
    unsigned = new != old or not manifest.is_signed(folder, params["key"])  # also by a run that was cut, or by another key
    if unsigned:
        files.write(folder / manifest.NAME, new, 0o644)
        manifest.sign(folder, params["key"])
    if (folder / "install").exists():
        (folder / "install").chmod(0o755)
    return {
        "changed": unsigned or removed not in ([], [".slm-copilot-bundle"]),
        "bytes": sum(part["size"] for part in parts if part["path"] in kept),
        "files": len(parts),
        "written": len(kept),
        "sha256": hashlib.sha256(new).hexdigest(),
    }


def _entries(base: str | None) -> list[dict[str, Any]]:
    """Returns the files of an older bundle. It is only compared, so its signature is not verified."""
    if not base:
        return []
    try:
        content = (Path(base) / manifest.NAME).read_bytes()
    except OSError as error:
        raise CopilotError(f"update: {base} holds no bundle: {error.strerror}. Name the folder of the older bundle.") from None
    files: list[dict[str, Any]] = manifest.parse(content)["files"]
    return files


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "cache": {"type": "path", "required": True},
            "targets": {"type": "list", "elements": "str", "required": True},
            "engines": {"type": "dict", "default": {}},
            "models": {"type": "dict", "default": {}},
            "requirements": {"type": "list", "elements": "path", "default": []},
            "collections": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "install": {"type": "list", "elements": "path", "default": []},
            "debian_mirror": {"type": "str", "default": "http://deb.debian.org/debian"},
            "security_mirror": {"type": "str", "default": "http://deb.debian.org/debian-security"},
            "part_mib": {"type": "int", "default": manifest.PART_MIB},
            "base": {"type": "path"},
            "progress_file": {"type": "path"},
        },
    )
    try:
        if not shutil.which("ssh-keygen"):
            raise CopilotError("ssh-keygen is not there. Install openssh-client on this machine.")
        module.exit_json(**write(module.params, ProgressFile(module.params["progress_file"])))
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
