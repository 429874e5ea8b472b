# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a build is run and followed, with a shell script in the place of Ninja."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import pwd
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._engine.cmake import build, run, wait_for


def test_the_steps_are_followed(tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    worked = run(
        ["sh", "-c", "echo '[1/2] one'"], getpass.getuser(), tmp_path, tmp_path / "build.log", ProgressFile(str(progress))
    )
    assert worked
    seen = json.loads(progress.read_text())
    assert (seen["phase"], seen["done"], seen["total"], seen["unit"]) == ("compiling", 1, 2, "steps")
    assert (tmp_path / "build.log").read_text() == "[1/2] one\n"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as somebody else")


def build_in(build_dir: Path, log_dir: Path) -> None:
    build("/nowhere", build_dir, log_dir, "nobody", ["x"], {}, 1, ProgressFile(None))


@pytest.fixture
def build_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Directories as the role makes them, which the account nobody can reach, and programs in the places of cmake and Ninja."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        tree, programs, secret = root / "tree", root / "bin", root / "secret"
        tree.mkdir()
        shutil.chown(tree, "nobody")
        programs.mkdir()
        for name in ("cmake", "ninja"):
            (programs / name).write_text("#!/bin/sh\nid -u\n")
            (programs / name).chmod(0o755)
        secret.write_text("root's own\n")
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        yield SimpleNamespace(root=root, tree=tree, secret=secret)


@needs_root
def test_what_the_build_account_links_to_is_not_written(build_host: SimpleNamespace) -> None:
    for name in ("build.log", ".lock"):
        (build_host.tree / name).symlink_to(build_host.secret)
    build_in(build_host.tree, build_host.root)
    assert build_host.secret.read_text() == "root's own\n"
    assert (build_host.root / "build.log").read_text() == f"{pwd.getpwnam('nobody').pw_uid}\n" * 2


@needs_root
@pytest.mark.parametrize("name", ["build.log", ".lock"])
def test_a_link_in_the_place_of_our_own_files_is_refused(build_host: SimpleNamespace, name: str) -> None:
    (build_host.root / name).symlink_to(build_host.secret)
    with pytest.raises(OSError, match="symbolic link"):
        build_in(build_host.tree, build_host.root)
    assert build_host.secret.read_text() == "root's own\n"


@needs_root
def test_a_log_directory_of_the_build_account_is_refused(build_host: SimpleNamespace) -> None:
    with pytest.raises(CopilotError, match=r"log_dir: .*tree belongs to user id \d+ .* It must belong to user id 0"):
        build_in(build_host.tree, build_host.tree)


def test_nothing_to_do_is_no_work(tmp_path: Path) -> None:
    assert not run(["echo", "ninja: no work to do."], getpass.getuser(), tmp_path, tmp_path / "build.log", ProgressFile(None))


def test_a_failure_ends_with_what_was_said(tmp_path: Path) -> None:
    with pytest.raises(CopilotError, match=r"sh failed \(3\).*build\.log(.|\n)*error: no such file"):
        run(
            ["sh", "-c", "echo 'error: no such file'; exit 3"],
            getpass.getuser(),
            tmp_path,
            tmp_path / "build.log",
            ProgressFile(None),
        )


def test_a_second_run_waits_for_one_that_has_no_log_yet(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        threading.Timer(0.5, lambda: fcntl.flock(first, fcntl.LOCK_UN)).start()
        wait_for(second, tmp_path / "build.log", ProgressFile(None))


def test_a_second_run_waits_and_and_shows_how_far_the_first_is(tmp_path: Path) -> None:
    log, progress = tmp_path / "build.log", tmp_path / "progress"
    log.write_text("[1/9] a\n[4/9] b\n")
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        threading.Timer(0.5, lambda: fcntl.flock(first, fcntl.LOCK_UN)).start()
        wait_for(second, log, ProgressFile(str(progress)))
    seen = json.loads(progress.read_text())
    assert (seen["phase"], seen["done"], seen["total"]) == ("another run is compiling here", 4, 9)
