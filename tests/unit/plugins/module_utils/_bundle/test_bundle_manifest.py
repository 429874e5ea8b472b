# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bundle is used whole and as it was signed, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._bundle import manifest as bundles
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs openssh-client")
FILES = {
    "debs/bookworm-amd64/haproxy_2.6_amd64.deb": b"package" * 9,
    "engine/llama.tar.gz": b"engine" * 99,
    "models/tiny.gguf": bytes(range(250)),
    "wheels/a-1-py3-none-any.whl": b"wheel",
}
PART = 100


def make_key(folder: Path, name: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return str(folder / name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A signed bundle with a model in three parts, and its public key."""
    base = tmp_path_factory.mktemp("bundle")
    folder = base / "bundle"
    entries = []
    for path, content in FILES.items():
        source = base / "source" / path
        source.parent.mkdir(parents=True)
        source.write_bytes(content)
        part_bytes = PART if path.startswith("models/") else None
        targets = ["bookworm-amd64"] if path.startswith("debs") else []
        entries.append(bundles.put(source, folder, path, part_bytes) | {"kind": "file", "targets": targets})
    (folder / bundles.NAME).write_bytes(bundles.render({"targets": {"bookworm-amd64": {}}, "files": entries}))
    key = make_key(base, "key")
    bundles.sign(folder, key)
    make_key(base, "foreign")
    return base


@pytest.fixture
def bundle(made, tmp_path):
    return shutil.copytree(made / "bundle", tmp_path / "bundle")


def found_in(bundle: Path, made: Path) -> list[str]:
    manifest = bundles.read(bundle, f"{made}/key.pub")
    return bundles.problems(bundle, manifest) or bundles.damaged(bundle, manifest["files"])


def test_what_was_signed_is_whole(bundle, made):
    assert found_in(bundle, made) == []


def test_the_same_files_give_the_same_bytes(bundle):
    content = (bundle / bundles.NAME).read_bytes()
    manifest = bundles.parse(content)
    manifest["files"].reverse()
    assert bundles.render(manifest) == content
    assert all(line.count(b'"path"') <= 1 for line in content.splitlines())


def test_large_files_are_in_parts_that_join_without_a_copy(bundle):
    joined = bundles.Joined(f"{bundle}/models/tiny.gguf")
    assert [path.name for path in joined.paths] == [f"tiny.gguf.part-00{number}" for number in range(3)]
    assert joined.size == 250
    joined.seek(90)
    content = b""
    while block := joined.read(70):
        content += block
    assert content == FILES["models/tiny.gguf"][90:]


@pytest.mark.parametrize("path", [*(path for path in FILES if not path.startswith("models")), "models/tiny.gguf.part-001"])
def test_a_flipped_bit_is_named_in_each_kind_of_file(bundle, made, path):
    content = bytearray((bundle / path).read_bytes())
    content[2] ^= 1
    (bundle / path).write_bytes(content)
    (problem,) = found_in(bundle, made)
    assert problem.startswith(f"{path} is damaged")


def test_a_truncated_part_is_named(bundle, made):
    os.truncate(bundle / "models/tiny.gguf.part-002", 49)
    assert found_in(bundle, made) == ["models/tiny.gguf.part-002 has 49 bytes instead of 50: copy it again"]


def test_a_missing_part_is_named(bundle, made):
    (bundle / "models/tiny.gguf.part-000").unlink()
    assert found_in(bundle, made) == ["models/tiny.gguf.part-000 is missing: copy it again"]


def test_a_file_that_nobody_signed_is_named(bundle, made):
    (bundle / "wheels/b-1-py3-none-any.whl").write_bytes(b"x")
    assert found_in(bundle, made) == ["wheels/b-1-py3-none-any.whl is not in MANIFEST.json: remove it"]


def test_a_link_is_no_file(bundle, made):
    (bundle / "engine/llama.tar.gz").unlink()
    (bundle / "engine/llama.tar.gz").symlink_to("/etc/passwd")
    assert found_in(bundle, made) == ["engine/llama.tar.gz is a link: copy the file itself"]


def test_a_changed_manifest_is_refused(bundle, made):
    content = (bundle / bundles.NAME).read_bytes().replace(b"haproxy_2.6", b"haproxy_2.7")
    (bundle / bundles.NAME).write_bytes(content)
    with pytest.raises(CopilotError, match=r"the signature of MANIFEST.json is not that of .*key.pub"):
        bundles.read(bundle, f"{made}/key.pub")


@pytest.mark.parametrize("signature", [b"", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"])
def test_an_exchanged_signature_is_refused(bundle, made, signature):
    (bundle / bundles.SIGNATURE).write_bytes(signature)
    with pytest.raises(CopilotError, match="Nothing of the bundle was used"):
        bundles.read(bundle, f"{made}/key.pub")


def test_whose_signature_it_is_is_seen_by_either_half_of_the_key(bundle, made):
    for name in ("key", "key.pub"):
        assert bundles.is_signed(bundle, f"{made}/{name}")
    for name in ("foreign", "foreign.pub"):
        assert not bundles.is_signed(bundle, f"{made}/{name}")
    make_key(bundle, "locked")
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "passphrase", "-f", bundle / "locked"], check=True, stdout=subprocess.DEVNULL)
    assert not bundles.is_signed(bundle, f"{bundle}/locked")
    (bundle / bundles.NAME).write_bytes((bundle / bundles.NAME).read_bytes() + b"\n")  # a run was cut before it signed
    assert not bundles.is_signed(bundle, f"{made}/key")
    (bundle / bundles.SIGNATURE).unlink()
    assert not bundles.is_signed(bundle, f"{made}/key")


def test_a_foreign_key_is_refused(bundle, made):
    bundles.sign(bundle, f"{made}/foreign")
    with pytest.raises(CopilotError, match="somebody else signed it"):
        bundles.read(bundle, f"{made}/key.pub")


def test_a_signature_for_something_else_is_refused(bundle, made, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bundles, "NAMESPACE", "git")
        bundles.sign(bundle, f"{made}/key")
    with pytest.raises(CopilotError, match="is not that of"):
        bundles.read(bundle, f"{made}/key.pub")


def test_a_missing_signature_and_no_key_are_told(bundle, made):
    with pytest.raises(CopilotError, match="copilot_bundle_key: /nonexistent"):
        bundles.read(bundle, "/nonexistent")
    with pytest.raises(CopilotError, match=r"copilot_bundle_key: .* is no public SSH key"):
        bundles.read(bundle, f"{made}/key")
    (bundle / bundles.SIGNATURE).unlink()
    with pytest.raises(CopilotError, match=r"copilot_bundle: .*MANIFEST.json.sig: No such file"):
        bundles.read(bundle, f"{made}/key.pub")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", ".ssh/x", "a//b", "a/b\n"])
def test_a_path_outside_is_refused(path):
    with pytest.raises(CopilotError, match="no path inside a bundle"):
        bundles.parse(bundles.render({"files": [{"path": path}]}))


def test_an_unknown_format_is_refused():
    with pytest.raises(CopilotError, match="format 2"):
        bundles.parse(b'{"format": 2, "files": []}')
    with pytest.raises(CopilotError, match="not the manifest"):
        bundles.parse(b"[")


def test_what_is_there_is_not_written_again(made, tmp_path):
    source = made / "source/models/tiny.gguf"
    entry = bundles.put(source, tmp_path, "models/tiny.gguf", PART)
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "models").iterdir()}
    (tmp_path / "models/tiny.gguf.part-001").write_bytes(b"half")
    assert bundles.put(source, tmp_path, "models/tiny.gguf", PART) == entry
    again = {path.name: path.stat().st_ino for path in (tmp_path / "models").iterdir()}
    assert {name for name in inodes if inodes[name] != again[name]} == {"tiny.gguf.part-001"}


def test_a_full_disk_leaves_no_half_file(made):
    with pytest.raises(CopilotError, match=r"cannot be written: .*Free some space"):
        bundles.put(made / "source/models/tiny.gguf", Path("/proc/self"), "fdinfo/x")


def test_files_of_a_target(bundle):
    manifest = bundles.parse((bundle / bundles.NAME).read_bytes())
    assert len(bundles.for_target(manifest, "bookworm-amd64")) == 4
    assert len(bundles.for_target(manifest, "trixie-amd64")) == 3
