#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: appliance_image
short_description: Build a bootable disk image of a copilot
version_added: 0.1.0
description:
  - Builds a qcow2 image with Debian, a bundle, models, and a program that reads OpenNebula's context at each boot.
  - The image contains no secrets, host keys, machine ID or certificate authority. Two machines that start from it share none of
    these.
  - It needs no hypervisor, container engine or mount, but must run as root.
  - Writes a file O(path) with C(.json) appended, which lists the contents and the size of the image.
requirements:
  - mmdebstrap, e2fsprogs, fdisk, grub-common, grub-pc-bin and qemu-utils on the machine that runs it
options:
  path:
    description: Path of the image.
    type: path
    required: true
  work_dir:
    description: Working directory for the image's files. It needs three times the size of the models.
    type: path
    required: true
  codename:
    description: Debian release.
    type: str
    choices: [bookworm, trixie]
    default: trixie
  packages:
    description: Debian packages to install in addition to the base system.
    type: list
    elements: str
    required: true
  mirrors:
    description: Lines of C(sources.list), for the build and in the image.
    type: list
    elements: str
    required: true
  overlay:
    description: Directory of files to copy over the system.
    type: path
    required: true
  bundle:
    description: Folder of the bundle, without models.
    type: path
    required: true
  public_key:
    description: Public half of the key that signed the bundle.
    type: path
    required: true
  models:
    description: Models by ID, each with C(path), C(sha256) and C(entry), its catalogue entry.
    type: dict
    required: true
  model:
    description: ID of the model that is served unless the context specifies another.
    type: str
    required: true
  context_package:
    description: File with OpenNebula's context package for Debian. Without it, the image reads the context itself.
    type: path
  context_package_sha256:
    description: SHA-256 of O(context_package). Nothing else authenticates the package.
    type: str
  spare_mib:
    description: Free space in the image's file system in MiB. The file system grows to the size of the disk at the first boot.
    type: int
    default: 4096
  archive:
    description: Path of a tar archive that gets all files of the image as well.
    type: path
attributes:
  check_mode:
    support: full
    description: Reports whether the image would be built.
  diff_mode:
    support: none
    description: An image has no diff.
  idempotent:
    support: full
    description: An image with the same inputs is not built again. New versions of Debian packages alone do not cause a build.
extends_documentation_fragment:
  - slm.copilot.long_job
seealso:
  - module: slm.copilot.bundle
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Build the image
  slm.copilot.appliance_image:
    path: slm-copilot.qcow2
    work_dir: /var/tmp
    codename: bookworm
    packages: [linux-image-amd64, openssh-server, systemd-sysv]
    mirrors: ["deb http://deb.debian.org/debian bookworm main"]
    overlay: roles/appliance/files/root
    bundle: bundle
    public_key: bundle_key.pub
    models: {}
    model: devstral-small-2
"""

RETURN = r"""
image:
  description: Contents and size of the image.
  returned: success, and not in check mode
  type: dict
  contains:
    digest:
      description: Checksum over all inputs.
      type: str
    packages:
      description: Versions of the Debian packages, by name.
      type: dict
    size:
      description: Size of the file in bytes.
      type: int
    virtual_size:
      description: Size of the disk in bytes.
      type: int
    sha256:
      description: SHA-256 of the file.
      type: str
    md5:
      description: MD5 of the file, which OpenNebula's marketplace needs as well.
      type: str
"""

import hashlib
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._common.programs import run
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._image import disk, root


def parts_of(params: dict[str, Any]) -> root.Parts:
    return root.Parts(
        codename=params["codename"],
        packages=params["packages"],
        mirrors=params["mirrors"],
        overlay=Path(params["overlay"]),
        bundle=Path(params["bundle"]),
        public_key=Path(params["public_key"]),
        models=params["models"],
        model=params["model"],
        context_package=Path(params["context_package"]) if params["context_package"] else None,
    )


def require_checksum(package: str | None, wanted: str | None) -> None:
    if package and sha256_of(package) != wanted:
        raise CopilotError(
            f"appliance_context_package: {package} does not have the checksum appliance_context_package_sha256. "
            "Download it again, or correct the checksum."
        )


def is_there(params: dict[str, Any], digest: str) -> dict[str, Any] | None:
    """Returns the description of the existing image, if it was built from the same inputs."""
    image, said = Path(params["path"]), Path(f"{params['path']}.json")
    if not (image.is_file() and said.is_file()) or (params["archive"] and not Path(params["archive"]).is_file()):
        return None
    about: dict[str, Any] = json.loads(said.read_text())
    return about if about["digest"] == digest and about["size"] == image.stat().st_size else None


def make(params: dict[str, Any], parts: root.Parts, progress: ProgressFile) -> dict[str, Any]:
    missing = [
        package for program, package in (disk.PROGRAMS | {"mmdebstrap": "mmdebstrap"}).items() if not shutil.which(program)
    ]
    missing += [] if disk.GRUB.is_dir() else ["grub-pc-bin"]
    if missing:
        raise CopilotError(f"This machine lacks {', '.join(missing)}. Install the packages.")
    image = Path(params["path"])
    with tempfile.TemporaryDirectory(dir=params["work_dir"], prefix="slm-copilot-image.") as work:
        folder = Path(work, "root")
        progress.update("installing Debian and the bundle", 0, 3, "steps")
        about = root.make(parts, folder)
        if params["archive"]:
            progress.update("packing the files", 1, 3, "steps")
            run(["tar", "--create", "--numeric-owner", f"--file={params['archive']}", f"--directory={folder}", "."], "archive")
        progress.update("writing the disk", 2, 3, "steps")
        about["virtual_size"] = disk.make(folder, image, params["spare_mib"], uuid.uuid5(uuid.NAMESPACE_OID, about["digest"]))
    about |= {"size": image.stat().st_size, "created": int(image.stat().st_mtime)}
    with image.open("rb") as file:
        about |= {"sha256": sha256_of(image), "md5": hashlib.file_digest(file, "md5").hexdigest()}
    Path(f"{image}.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    return about


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "work_dir": {"type": "path", "required": True},
            "codename": {"choices": ["bookworm", "trixie"], "default": "trixie"},
            "packages": {"type": "list", "elements": "str", "required": True},
            "mirrors": {"type": "list", "elements": "str", "required": True},
            "overlay": {"type": "path", "required": True},
            "bundle": {"type": "path", "required": True},
            "public_key": {"type": "path", "required": True, "no_log": False},
            "models": {"type": "dict", "required": True},
            "model": {"type": "str", "required": True},
            "context_package": {"type": "path"},
            "context_package_sha256": {"type": "str"},
            "spare_mib": {"type": "int", "default": 4096},
            "archive": {"type": "path"},
            "progress_file": {"type": "path"},
        },
        required_by={"context_package": ["context_package_sha256"]},
        supports_check_mode=True,
    )
    try:
        require_checksum(module.params["context_package"], module.params["context_package_sha256"])
        parts = parts_of(module.params)
        if about := is_there(module.params, root.digest(parts)):
            module.exit_json(changed=False, image=about)
        if module.check_mode:
            module.exit_json(changed=True)
        module.exit_json(changed=True, image=make(module.params, parts, ProgressFile(module.params["progress_file"])))
    except (CopilotError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
