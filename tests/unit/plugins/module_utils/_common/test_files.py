# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that are replaced in one step."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import append_to, replaced, require_own, write
from ansible_collections.slm.copilot.tests.unit.fixtures.killed import calls_of, killed_at_each_line

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_whoever_is_killed_while_writing_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    seen = set()
    for _line in killed_at_each_line(lambda: write(path, "new", 0o640)):
        seen.add(path.read_text())
        assert path.read_text() in ("old", "new")
        assert all(mode_of(left) in (0o600, 0o640) for left in tmp_path.iterdir() if left != path), "nobody may read what is left"
        path.write_text("old")
    assert seen == {"old", "new"}
    assert path.read_text() == "new"


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path: Path) -> None:
    order = calls_of(lambda: write(tmp_path / "keys", "new", 0o640), "fchmod", "fsync", "rename", "replace")
    assert order == ["fchmod", "fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("before", "mode", "after"),
    [
        pytest.param(None, None, 0o600, id="a new file is private"),
        pytest.param(None, 0o644, 0o644, id="a new file with a mode"),
        pytest.param(0o640, None, 0o640, id="the mode stays"),
        pytest.param(0o644, 0o600, 0o600, id="the mode changes"),
    ],
)
def test_mode(tmp_path: Path, before: int | None, mode: int | None, after: int) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_text("before")
        path.chmod(before)
    umask = os.umask(0o077 if mode == 0o644 else 0)
    try:
        write(path, b"x", mode)
    finally:
        os.umask(umask)
    assert (mode_of(path), path.read_bytes()) == (after, b"x")


@needs_root
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    os.chown(path, 12, 34)
    write(path, "after")
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)
    write(path, "given", owner=(0, 5))
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 5)


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_nothing_is_written_through_a_link(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "elsewhere"
    if there:
        target.write_text("untouched")
    path = tmp_path / "file"
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        append_to(path)
    write(path, "new")
    assert not path.is_symlink() and path.read_text() == "new"
    assert target.exists() is there and (not there or target.read_text() == "untouched")


def test_a_folder_that_is_swapped_meanwhile_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "victim").mkdir()
    with replaced(tmp_path / "folder/file") as file:
        (tmp_path / "folder").rename(tmp_path / "moved")
        (tmp_path / "folder").symlink_to("victim")
        file.write(b"x")
    assert not list((tmp_path / "victim").iterdir())
    assert [entry.name for entry in (tmp_path / "moved").iterdir()] == ["file"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), replaced(tmp_path / "file"):
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mode", "owner", "words"),
    [
        pytest.param(0o755, None, None, id="ours"),
        pytest.param(0o777, None, "mode 0777", id="everybody may write"),
        pytest.param(0o775, None, "mode 0775", id="a group may write"),
        pytest.param(0o755, 12, "user id 12", id="another account's", marks=needs_root),
    ],
)
def test_a_folder_of_our_own(tmp_path: Path, mode: int, owner: int | None, words: str | None) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    if owner is not None:
        shutil.chown(folder, owner)
    if words is None:
        require_own(folder, "log_dir")
        return
    with pytest.raises(CopilotError, match=f"log_dir: .*{words}"):
        require_own(folder, "log_dir")
