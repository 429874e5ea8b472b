# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versioned directories with a current one."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._release import (
    describe,
    pack,
    sha256_of,
    superfluous,
    switch,
    unpack,
)

PROGRAM = "#!/bin/sh\nexit {status}\n"


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
