# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of an appliance: Debian, a bundle, the models, and the program that reads the context at boot."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._common.programs import run

HOME = "opt/slm-copilot/appliance"
MODELS = "var/lib/slm-copilot/models"
# What belongs to one machine alone
_OWN = (
    "etc/ssh/ssh_host_*",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/cache/apt/*.bin",
    "root/.cache",
    "tmp/*",
)


@dataclass(frozen=True)
class Parts:
    """What an image is made of."""

    codename: str
    packages: list[str]
    mirrors: list[str]  # lines of sources.list
    overlay: Path
    bundle: Path
    public_key: Path
    models: Mapping[str, Mapping[str, Any]]  # by id: path, sha256, entry
    model: str
    context_package: Path | None


def digest(parts: Parts) -> str:
    """Returns a checksum over all that decides about an image, but for the versions of Debian's packages."""
    said = hashlib.sha256(json.dumps([parts.codename, parts.packages, parts.mirrors, parts.model], sort_keys=True).encode())
    files = [parts.public_key, parts.bundle / "MANIFEST.json", *([parts.context_package] if parts.context_package else [])]
    for path in (*files, *sorted(one for one in parts.overlay.rglob("*") if one.is_file())):
        said.update(f"{path.name} {sha256_of(path)}\n".encode())
    said.update(json.dumps({name: [one["sha256"], one["entry"]] for name, one in parts.models.items()}, sort_keys=True).encode())
    return said.hexdigest()


def image_json(parts: Parts) -> dict[str, Any]:
    """Returns the appliance's settings. Each model is used in place, and never looked up."""
    catalogue = {
        name: {**one["entry"], "src": f"/{MODELS}/{Path(one['path']).name}", "sha256": one["sha256"]}
        for name, one in parts.models.items()
    }
    return {"digest": digest(parts), "model": parts.model, "catalogue": catalogue}


def make(parts: Parts, root: Path) -> dict[str, Any]:
    """Fills a folder, as root. Returns what is in it: packages with their versions, checksums of the rest.

    :raises CopilotError: with what mmdebstrap or the bundle's own installation said.
    """
    if os.geteuid() != 0:
        raise CopilotError("Only root can build an image, because the files in it belong to root: run with become, or as root.")
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(parts.packages)}"]
    command += [f"--customize-hook={hook}" for hook in _hooks(parts)]
    run([*command, parts.codename, str(root), *parts.mirrors], "Debian")
    place(parts, root)
    installed = run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show"], "packages")
    return {
        "codename": parts.codename,
        "version": json.loads((parts.bundle / "MANIFEST.json").read_text())["product"]["version"],
        "digest": digest(parts),
        "bundle": sha256_of(parts.bundle / "MANIFEST.json"),
        "context_package": sha256_of(parts.context_package) if parts.context_package else None,
        "models": {name: one["sha256"] for name, one in sorted(parts.models.items())},
        "packages": dict(line.split("\t") for line in installed.splitlines()),
    }


def _hooks(parts: Parts) -> Iterable[str]:
    """Shell lines that mmdebstrap runs at the end, with the folder as $1 and its /proc and /dev mounted."""
    yield f'mkdir -p "$1/{HOME}" && cp -a {quote(str(parts.bundle))} "$1/{HOME}/bundle" && chown -R 0:0 "$1/{HOME}/bundle"'
    yield f'cp {quote(str(parts.public_key))} "$1/{HOME}/bundle.pub"'
    # The collections go below $HOME.
    yield f'chroot "$1" env HOME=/{HOME} sh /{HOME}/bundle/install /{HOME}/bundle.pub /{HOME}/ansible'
    if parts.context_package:
        yield f'cp {quote(str(parts.context_package))} "$1/context.deb"'
        yield 'chroot "$1" apt-get install --yes --quiet --no-install-recommends /context.deb && rm "$1/context.deb"'


def place(parts: Parts, root: Path) -> None:
    """Adds the models and the overlay, and removes everything that belongs to a single machine."""
    models = root / MODELS
    models.mkdir(parents=True)
    for one in parts.models.values():
        shutil.copyfile(one["path"], models / Path(one["path"]).name)
    for source in sorted(parts.overlay.rglob("*")):
        there = root / source.relative_to(parts.overlay)
        if source.is_dir():
            there.mkdir(exist_ok=True)
        else:
            shutil.copyfile(source, there)
            there.chmod(0o755 if source.read_bytes().startswith(b"#!") else 0o644)
    units = ["slm-copilot-host-keys", "slm-copilot-service", "slm-copilot-drain"]
    # With the context package its hook is called; without, units of ours do what it would do.
    if parts.context_package:
        for unit in ("slm-copilot-context", "slm-copilot-appliance"):
            (root / f"etc/systemd/system/{unit}.service").unlink()
        shutil.rmtree(root / "etc/systemd/system/systemd-networkd-wait-online.service.d")
    else:
        shutil.rmtree(root / "etc/one-context.d")
        units += ["slm-copilot-context", "slm-copilot-appliance", "systemd-networkd", "systemd-resolved"]
    run(["systemctl", f"--root={root}", "--quiet", "enable", *units], "units")
    (root / HOME / "image.json").write_text(json.dumps(image_json(parts), indent=1, sort_keys=True) + "\n")
    for pattern in _OWN:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("copilot\n")
