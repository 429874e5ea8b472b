# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versioned directories with a current one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._engine.release import (
    describe,
    pack,
    superfluous,
    switch,
    unpack,
)
from ansible_collections.slm.copilot.tests.unit.fixtures.inside import LOOK, SEEN_BY_NOBODY
from ansible_collections.slm.copilot.tests.unit.fixtures.killed import calls_of, killed_at_each_line

SEEN = "/var/cache"
PROGRAM = "#!/bin/sh\nexit {status}\n"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory that the account nobody can enter, who tries new versions, and that its sandbox does not hide."""
    with tempfile.TemporaryDirectory(dir=SEEN if os.geteuid() == 0 else None) as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a compile leaves: a program, a library and a link to it, and more that nobody wants."""
    directory = tmp_path / "build"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/server").write_text(PROGRAM.format(status=0))
    (directory / "bin/server").chmod(0o755)
    (directory / "bin/libx.so.1").write_text("library")
    (directory / "bin/libx.so").symlink_to("libx.so.1")
    (directory / "object.o").write_text("no")
    return directory


def packed(built: Path, name: str = "a.tar.gz") -> tuple[Path, str]:
    archive = built.parent / name
    pack(built, ["bin/server", "bin/*.so*"], archive, {"version": "1"})
    return archive, sha256_of(archive)


def test_a_version_is_installed_and_becomes_current(built: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    archive, sha256 = packed(built)
    unpack(archive, sha256, prefix, "1", ["bin/server"])
    assert describe(prefix)["current"] is None
    switch(prefix, "1")
    state = describe(prefix)
    assert (state["current"], state["versions"], state["manifest"]["version"]) == ("1", ["1"], "1")
    assert (prefix / "current/bin/libx.so").read_text() == "library"
    assert os.access(prefix / "current/bin/server", os.X_OK)
    assert not (prefix / "1/object.o").exists()


def test_the_same_files_give_the_same_bytes(built: Path) -> None:
    first, sha256 = packed(built, "first.tar.gz")
    time.sleep(1.1)  # a gzip header has seconds
    (built / "bin/server").touch()
    second, again = packed(built, "second.tar.gz")
    assert sha256 == again
    assert first.read_bytes() == second.read_bytes()


def test_a_missing_file_is_not_packed_over(built: Path) -> None:
    with pytest.raises(CopilotError, match="matches bin/bench"):
        pack(built, ["bin/bench"], built / "a.tar.gz", {})


@pytest.mark.parametrize("damage", ["archive", "program", "member", "link"])
def test_what_is_wrong_never_replaces_what_is_there(built: Path, tmp_path: Path, damage: str) -> None:
    prefix = tmp_path / "opt"
    archive, sha256 = packed(built)
    unpack(archive, sha256, prefix, "1", [])
    switch(prefix, "1")
    expected = {
        "archive": "was expected",
        "program": "does not run here",
        "member": "not packed by us",
        "link": "not packed by us",
    }[damage]
    if damage == "archive":
        archive.write_bytes(archive.read_bytes()[:-10])
    elif damage == "program":
        (built / "bin/server").write_text(PROGRAM.format(status=3))
        archive, sha256 = packed(built)
    else:
        with tarfile.open(archive, "w") as tar:
            entry = tarfile.TarInfo("../evil" if damage == "member" else "evil")
            if damage == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry, io.BytesIO())
        sha256 = sha256_of(archive)
    with pytest.raises(CopilotError, match=expected):
        unpack(archive, sha256, prefix, "2", ["bin/server"])
    assert describe(prefix)["current"] == "1"
    assert sorted(entry.name for entry in prefix.iterdir()) == ["1", "current"]


def test_a_file_that_is_not_in_its_manifest_is_refused(built: Path, tmp_path: Path) -> None:
    archive, _sha256 = packed(built)
    with tarfile.open(archive) as old:
        manifest = old.extractfile("manifest.json").read()  # type: ignore[union-attr]
    (built / "bin/server").write_text("changed")
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(manifest)
        tar.addfile(entry, io.BytesIO(manifest))
        tar.add(built / "bin", "bin")
    with pytest.raises(CopilotError, match="not what its manifest says"):
        unpack(archive, sha256_of(archive), tmp_path / "opt", "1", [])


def archive_of(path: Path, *entries: dict[str, Any]) -> Path:
    """Writes an archive with the manifest that these entries need."""
    files = {one["name"]: sha256_of_bytes(one.get("content", b"")) for one in entries if "type" not in one}
    with tarfile.open(path, "w") as tar:
        for one in ({"name": "manifest.json", "content": json.dumps({"files": files}).encode()}, *entries):
            entry = tarfile.TarInfo(one["name"])
            content = one.get("content", b"")
            entry.size = len(content)
            for name in ("type", "linkname", "mode"):
                setattr(entry, name, one.get(name, getattr(entry, name)))
            tar.addfile(entry, io.BytesIO(content))
    return path


def sha256_of_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def link(name: str, target: str) -> dict[str, Any]:
    return {"name": name, "type": tarfile.SYMTYPE, "linkname": target}


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([link("a", ".."), link("a/b", ".."), {"name": "a/b/evil"}], id="a chain of links"),
        pytest.param([link("a", "."), {"name": "a/evil"}], id="a file through a link"),
        pytest.param([link("a", "..")], id="a link to the parent"),
        pytest.param([link("a", "b/../../evil")], id="a link that leaves on a detour"),
        pytest.param([{"name": "a"}, link("a", "b")], id="a link in the place of a file"),
        pytest.param([{"name": "/evil"}], id="absolute"),
        pytest.param([{"name": "a/../../evil"}], id="upwards"),
        pytest.param([{"name": "a", "type": tarfile.LNKTYPE, "linkname": "manifest.json"}], id="a hard link"),
        pytest.param([{"name": "a", "type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}], id="a hard link to the outside"),
        pytest.param([{"name": "a", "type": tarfile.CHRTYPE}], id="a device"),
        pytest.param([{"name": "a", "type": tarfile.FIFOTYPE}], id="a pipe"),
    ],
)
def test_an_archive_that_would_leave_its_directory_is_refused(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    archive = archive_of(tmp_path / "a.tar", *entries)
    with pytest.raises(CopilotError, match="not packed by us"):
        unpack(archive, sha256_of(archive), tmp_path / "opt/x", "1", [])
    assert not list((tmp_path / "opt/x").iterdir())
    assert not list(tmp_path.rglob("evil"))


def test_no_rights_come_out_of_an_archive(tmp_path: Path) -> None:
    entries = [{"name": "bin/server", "mode": 0o6777}, {"name": "plain", "mode": 0o7666}]
    archive = archive_of(tmp_path / "a.tar", {"name": "bin", "type": tarfile.DIRTYPE, "mode": 0o3777}, *entries)
    umask = os.umask(0o077)
    try:
        unpack(archive, sha256_of(archive), tmp_path / "opt", "1", [])
    finally:
        os.umask(umask)
    modes = {name: stat.S_IMODE((tmp_path / "opt/1" / name).stat().st_mode) for name in ("", "bin", "bin/server", "plain")}
    assert modes == {"": 0o755, "bin": 0o755, "bin/server": 0o755, "plain": 0o644}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as somebody else, in a sandbox")
def test_a_new_version_is_tried_in_the_sandbox(built: Path, tmp_path: Path) -> None:
    (built / "bin/server").write_text(f"#!/bin/sh\n{LOOK}\ncat; touch {tmp_path}/evil; exit 3\n")
    archive, sha256 = packed(built)
    with pytest.raises(CopilotError, match=rf"\(3\): {SEEN_BY_NOBODY}\n"):
        unpack(archive, sha256, tmp_path / "opt", "1", ["bin/server"])
    assert not (tmp_path / "evil").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="root may enter every directory")
def test_a_version_that_nobody_can_reach_is_told(built: Path, tmp_path: Path) -> None:
    archive, sha256 = packed(built)
    (tmp_path / "closed").mkdir(mode=0o700)
    with pytest.raises(CopilotError, match="cannot be run by nobody .*must be able to enter .*closed/opt"):
        unpack(archive, sha256, tmp_path / "closed/opt", "1", ["bin/server"])


@pytest.mark.parametrize("trap", ["folder", "link upwards", "second name", "pipe"])
def test_what_another_account_points_to_is_not_packed(built: Path, tmp_path: Path, trap: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "libkey.so").write_text("secret")
    if trap == "folder":
        shutil.rmtree(built / "bin")
        (built / "bin").symlink_to(secret)
    elif trap == "link upwards":
        (built / "bin/libkey.so").symlink_to(secret / "libkey.so")
    elif trap == "second name":
        os.link(secret / "libkey.so", built / "bin/libkey.so")
    else:
        os.mkfifo(built / "bin/libkey.so")
    with pytest.raises(CopilotError, match="Nothing in|does not belong there|not a file of the build's own"):
        pack(built, ["bin/*.so*"], tmp_path / "a.tar.gz", {})
    assert not (tmp_path / "a.tar.gz").exists()


def test_an_archive_is_not_written_through_a_link(built: Path, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root")
    for name in (".a.tar.gz.tmp", "a.tar.gz"):
        (tmp_path / name).symlink_to("passwd")
    archive, sha256 = packed(built)
    assert (tmp_path / "passwd").read_text() == "root"
    assert not archive.is_symlink()
    assert sha256 == sha256_of(archive)


def test_a_version_is_a_plain_name(built: Path, tmp_path: Path) -> None:
    archive, sha256 = packed(built)
    for version in ("../1", ".1", "", "current"):
        with pytest.raises(CopilotError, match="version is"):
            unpack(archive, sha256, tmp_path / "opt", version, [])


def test_whoever_is_killed_while_installing_leaves_what_was_there_or_a_whole_version(built: Path, tmp_path: Path) -> None:
    """The next run makes it good, wherever the one before was killed."""
    prefix = tmp_path / "opt"
    archive, sha256 = packed(built)
    unpack(archive, sha256, prefix, "1", [])
    switch(prefix, "1")

    def install() -> None:
        unpack(archive, sha256, prefix, "2", ["bin/server"])
        switch(prefix, "2")

    seen = set()
    for line in killed_at_each_line(install):
        state = describe(prefix)
        seen.add((state["current"], *state["versions"]))
        assert (prefix / "current/bin/libx.so").read_text() == "library"
        if line % 25 == 0:  # making it good takes longer than killing it
            install()
            assert sorted(entry.name for entry in prefix.iterdir()) == ["1", "2", "current"]
        switch(prefix, "1")
        shutil.rmtree(prefix / "2", ignore_errors=True)
    assert seen == {("1", "1"), ("1", "1", "2"), ("2", "1", "2")}
    assert describe(prefix)["current"] == "2"


def test_a_version_is_on_the_disk_before_it_has_its_name(built: Path, tmp_path: Path) -> None:
    archive, sha256 = packed(built)
    order = calls_of(lambda: unpack(archive, sha256, tmp_path / "opt", "1", []), "fsync", "rename")
    # Two files, the manifest, two folders; then the name, and the folder of names.
    assert order == ["fsync"] * 5 + ["rename", "fsync"]
    assert calls_of(lambda: switch(tmp_path / "opt", "1"), "fsync", "replace") == ["replace", "fsync"]


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param("", id="empty, as after a power cut"),
        pytest.param("[]", id="no mapping"),
        pytest.param('{"files": ["bin/server"]}', id="files that are not there"),
        pytest.param('{"files": 7}', id="nonsense"),
        pytest.param("\xff", id="no text"),
    ],
)
def test_a_version_without_a_good_manifest_is_installed_anew(built: Path, tmp_path: Path, manifest: str) -> None:
    prefix = tmp_path / "opt"
    (prefix / "1").mkdir(parents=True)
    (prefix / "1/manifest.json").write_bytes(manifest.encode("latin-1"))
    switch(prefix, "1")
    assert describe(prefix) == {"current": None, "versions": [], "manifest": None}
    archive, sha256 = packed(built)
    unpack(archive, sha256, prefix, "1", ["bin/server"])
    assert describe(prefix)["current"] == "1"


@pytest.mark.parametrize("damage", ["missing", "a folder", "a link"])
def test_a_version_that_lacks_a_file_is_installed_anew(built: Path, tmp_path: Path, damage: str) -> None:
    prefix = tmp_path / "opt"
    archive, sha256 = packed(built)
    unpack(archive, sha256, prefix, "1", [])
    switch(prefix, "1")
    library = prefix / "1/bin/libx.so.1"
    library.unlink()
    if damage == "a folder":
        library.mkdir()
    elif damage == "a link":
        library.symlink_to("server")
    assert describe(prefix)["current"] is None
    unpack(archive, sha256, prefix, "1", [])
    assert describe(prefix)["current"] == "1"
    assert library.read_text() == "library"


def test_a_damaged_version_is_installed_anew(built: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    archive, sha256 = packed(built)
    (prefix / "1").mkdir(parents=True)
    unpack(archive, sha256, prefix, "1", [])
    assert describe(prefix)["versions"] == ["1"]


@pytest.mark.parametrize(
    ("versions", "previous", "keep", "expected"),
    [
        pytest.param(["1", "2"], "1", 2, [], id="both are kept"),
        pytest.param(["1", "2", "3"], "2", 2, ["1"], id="the oldest goes"),
        pytest.param(["1", "2", "3"], "2", 3, [], id="three are kept"),
        pytest.param(["1", "2", "3"], "1", 1, ["2"], id="never the one before"),
        pytest.param(["3"], None, 2, [], id="first installation"),
        pytest.param(["3", "1", "2"], "2", 1, ["1"], id="going back keeps what was current"),
    ],
)
def test_superfluous(versions: list[str], previous: str | None, keep: int, expected: list[str]) -> None:
    current = "3"
    assert superfluous(versions, current, previous, keep) == expected


def test_a_named_version_is_not_superfluous() -> None:
    assert superfluous(["1", "2", "3", "4"], "4", "3", 2, named='{"/opt/current": "1"}') == ["2"]
