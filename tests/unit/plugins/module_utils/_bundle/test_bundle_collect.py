# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a bundle is made of fits the hosts that it is for, and always gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._bundle import collect
from ansible_collections.slm.copilot.plugins.module_utils._bundle.targets import TARGETS, name_of, named
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

LOCK = """\
# by a tool
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via something
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:dd
h11==0.16.0 \\
    --hash=sha256:ee
"""


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        ("bookworm-amd64", ["numpy==2.4.6 --hash=sha256:aa --hash=sha256:bb", "async-timeout==5.0.1 --hash=sha256:dd"]),
        ("trixie-arm64", ["numpy==2.5.5 --hash=sha256:cc"]),
    ],
)
def test_a_lock_is_read_for_the_python_of_the_hosts(target, lines):
    found = collect.requirements_for(LOCK, TARGETS[target]).splitlines()
    assert found == [*lines, "h11==0.16.0 --hash=sha256:ee"]


@pytest.mark.parametrize(
    ("distribution", "version", "architecture", "name"),
    [
        ("Debian", "12.14", "x86_64", "bookworm-amd64"),
        ("Debian", "13", "aarch64", "trixie-arm64"),
        ("Debian", "11.9", "x86_64", "Debian 11.9 on x86_64"),
        ("Ubuntu", "24.04", "x86_64", "Ubuntu 24.04 on x86_64"),
        ("Debian", "12", "riscv64", "Debian 12 on riscv64"),
    ],
)
def test_a_host_is_named_by_what_it_runs(distribution, version, architecture, name):
    assert name_of({"distribution": distribution, "distribution_version": version, "architecture": architecture}) == name


def test_unknown_targets_are_refused():
    with pytest.raises(CopilotError, match="bundle_targets: noble-amd64 is not a platform"):
        named(["noble-amd64", "bookworm-amd64"])
    with pytest.raises(CopilotError, match="an empty list"):
        named([])
    assert [one.name for one in named(["trixie-amd64", "bookworm-amd64", "trixie-amd64"])] == ["bookworm-amd64", "trixie-amd64"]


def test_wheels_are_asked_for_by_python_and_platform():
    options = TARGETS["trixie-arm64"].pip_options
    assert {"--python-version=3.13", "--abi=cp313", "--platform=manylinux_2_28_aarch64", "--only-binary=:all:"} <= set(options)
    assert not any("x86_64" in one or "2_41" in one for one in options)


def test_a_collection_lacks_no_file_of_its_own_list(tmp_path):
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "README.md").write_text("what")
    (folder / "LICENSES").mkdir()
    files = [{"name": name, "ftype": "file", "chksum_sha256": ""} for name in ("README.md", ".hidden")]
    files += [{"name": name, "ftype": "dir", "chksum_sha256": None} for name in (".", "LICENSES")]
    (folder / "FILES.json").write_text(json.dumps({"files": files}))
    info = {"namespace": "a", "name": "b", "version": "1.0.0"}
    (folder / "MANIFEST.json").write_text(json.dumps({"collection_info": info, "file_manifest_file": {}}))
    archive = collect.collection(folder, tmp_path)
    first = archive.read_bytes()
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["MANIFEST.json", "FILES.json", "LICENSES", "README.md"]
        listed = tar.extractfile("FILES.json").read()
        about = json.load(tar.extractfile("MANIFEST.json"))
    assert about["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(listed).hexdigest()
    assert collect.collection(folder, tmp_path).read_bytes() == first


def test_of_a_checkout_goes_only_what_git_knows(tmp_path):
    """What else lies there may be a key."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "galaxy.yml").write_text(
        "{namespace: a, name: b, version: 1.0.0, readme: README.md, authors: [a], description: d}"
    )
    for name in ("README.md", "image_key", "image.qcow2"):
        (checkout / name).write_text(name)
    subprocess.run(["git", "init", "--quiet", checkout], check=True)
    subprocess.run(["git", "-C", checkout, "add", "galaxy.yml", "README.md"], check=True)
    with tarfile.open(collect.collection(checkout, tmp_path)) as archive:
        assert archive.getnames() == ["MANIFEST.json", "FILES.json", "README.md"]


def test_origin_of_a_debian_package():
    details = collect.deb_details(Path("libfoo_1%3a2.0-1+deb12u1_amd64.deb"), TARGETS["bookworm-amd64"])
    assert details["origin"] == "pkg:deb/debian/libfoo@1:2.0-1+deb12u1?arch=amd64&distro=bookworm"


def test_what_packages_take_is_read_from_the_index():
    index = b"""Package: a
Description: what
 it is
Installed-Size: 3
Filename: ./a_1%3a2_amd64.deb

Package: b
Filename: ./b_1_all.deb
"""
    assert collect.installed_sizes(index) == {"a_1%3a2_amd64.deb": 3 << 10, "b_1_all.deb": 0}


def test_the_bill_of_materials_has_every_file():
    file = {"path": "models/m.gguf", "kind": "model", "sha256": "ab", "licence": "MIT", "origin": "pkg:huggingface/a/b@c"}
    document = json.loads(collect.sbom([file], "1.0"))
    assert document["specVersion"] == "1.6"
    (component,) = document["components"]
    assert (component["type"], component["purl"]) == ("machine-learning-model", "pkg:huggingface/a/b@c")


def test_what_a_bundle_no_longer_has_is_removed(tmp_path):
    for path in ("a/kept", "b/gone"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    assert collect.remove_others(tmp_path, {"a/kept"}) == ["b/gone"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
