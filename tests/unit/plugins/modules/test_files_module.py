# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files, directories and links, made and looked after on this machine."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import Wanted, apply, look
from ansible_collections.slm.copilot.plugins.modules import files

SECRET = "key sk-0123456789abcdef\n"
ME = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture
def place(run_module, tmp_path):
    """``place(entry, ...)`` runs the module with such entries, whose paths are below a folder of the test."""

    def run(*entries, **options):
        return run_module(
            files, {"files": [{**ME, **entry, "path": str(tmp_path / entry["path"])} for entry in entries]}, **options
        )

    return run


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_check_run_check_run(place, tmp_path):
    entries = (
        {"path": "etc/service", "state": "directory", "mode": "0750"},
        {"path": "etc/service/service.conf", "content": "port = 1\n", "mode": "0640"},
        {"path": "etc/service/key", "secret": SECRET, "mode": "0600"},
        {"path": "etc/service/key.link", "state": "link", "target": "key"},
        {"path": "etc/service/old.conf", "state": "absent", "mode": "0640"},
    )
    new = [str(tmp_path / entry["path"]) for entry in entries[:-1]]
    assert place(*entries, check=True)["changed_paths"] == new
    assert os.listdir(tmp_path) == []

    assert place(*entries)["changed_paths"] == new
    folder = tmp_path / "etc/service"
    assert sorted(os.listdir(folder)) == ["key", "key.link", "service.conf"]
    assert [mode_of(tmp_path / "etc"), mode_of(folder), mode_of(folder / "service.conf"), mode_of(folder / "key")] == [
        0o755, 0o750, 0o640, 0o600,
    ]  # fmt: skip
    assert (folder / "service.conf").read_text() == "port = 1\n"
    assert (folder / "key.link").read_text() == SECRET

    written = (folder / "service.conf").stat()
    for check in (True, False):
        result = place(*entries, check=check)
        assert (result["changed"], result["changed_paths"]) == (False, [])
    assert (folder / "service.conf").stat() == written


@pytest.mark.parametrize(
    ("entry", "before", "after"),
    [
        pytest.param({"content": "new\n", "mode": "0644"}, "old\n", "new\n", id="content"),
        pytest.param({"content": "old\n", "mode": "0600"}, "0644\n", "0600\n", id="mode"),
        pytest.param({"mode": "0600"}, "0644\n", "0600\n", id="mode alone"),
        pytest.param({"state": "absent", "mode": "0600"}, "file\n", "absent\n", id="removed"),
    ],
)
def test_a_diff_shows_what_differs(place, tmp_path, entry, before, after):
    file = tmp_path / "file"
    file.write_text("old\n")
    file.chmod(0o644)
    foreseen = place({"path": "file", **entry}, check=True, diff=True)
    done = place({"path": "file", **entry}, diff=True)
    assert foreseen["diff"] == done["diff"]
    (diff,) = done["diff"]
    assert diff["before_header"] == diff["after_header"] == str(file)
    assert diff["before"].endswith(before)
    assert diff["after"].endswith(after)
    assert not place({"path": "file", **entry})["changed"]


def test_a_secret_is_in_no_result_and_in_no_log(place, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(files.FilesModule, "log", lambda _module, text, log_args=None: logged.append(text))
    (tmp_path / "key").write_text("key sk-the-key-of-before\n")
    result = json.dumps(place({"path": "key", "secret": SECRET, "mode": "0600"}, diff=True))
    assert (tmp_path / "key").read_text() == SECRET
    assert "sk-" not in result
    assert "invocation" in result, "one that Ansible does not make itself"
    assert logged == [f"Invoked with files={tmp_path}/key"]


def test_what_the_command_refuses_is_not_installed(place, tmp_path):
    (tmp_path / "numbers").write_text("1\n")
    (tmp_path / "first").write_text("")
    refusing = {"path": "numbers", "content": "one\n", "mode": "0644", "validate": "grep --quiet '^[0-9]*$' %s"}
    assert place(refusing, check=True)["changed"]
    result = place({"path": "second", "content": "", "mode": "0644"}, refusing)
    assert result["failed"]
    assert f"the new {tmp_path}/numbers is not valid and was not installed" in result["msg"]
    assert result["changed_paths"] == [str(tmp_path / "second")]
    assert (tmp_path / "numbers").read_text() == "1\n"
    assert sorted(os.listdir(tmp_path)) == ["first", "numbers", "second"], "nothing is left behind"
    assert place({**refusing, "content": "2\n"})["changed"]


def test_nothing_is_written_through_a_link(place, tmp_path):
    somebodys = tmp_path / "somebodys"
    somebodys.write_text("theirs\n")
    somebodys.chmod(0o600)
    (tmp_path / "file").symlink_to(somebodys)
    assert place({"path": "file", "content": "ours\n", "mode": "0644"})["changed"]
    assert not (tmp_path / "file").is_symlink()
    assert (somebodys.read_text(), mode_of(somebodys)) == ("theirs\n", 0o600)


def test_a_link_is_turned_in_one_step(place, tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    assert place({"path": "link", "state": "link", "target": "here"})["changed"]
    assert os.readlink(tmp_path / "link") == "here"


def test_a_directory_without_a_mode_is_only_made(place, tmp_path):
    (tmp_path / "there").mkdir(mode=0o700)
    assert not place({"path": "there", "state": "directory"})["changed"]
    assert mode_of(tmp_path / "there") == 0o700
    assert place({"path": "new", "state": "directory"})["changed"]
    assert mode_of(tmp_path / "new") == 0o755


def test_modes_do_not_follow_from_the_umask(tmp_path):
    folder, file = (Wanted(str(tmp_path / path), **ME, mode=mode, state=state, content=b"") for path, mode, state in (
        ("above/folder", 0o755, "directory"), ("above/folder/file", 0o644, "file"),
    ))  # fmt: skip
    umask = os.umask(0o077)
    try:
        for one in (folder, file):
            apply(one, look(one.path), ["state"], lambda _temporary: None)
    finally:
        os.umask(umask)
    paths = ("above", "above/folder", "above/folder/file")
    assert [mode_of(tmp_path / path) for path in paths] == [0o755, 0o755, 0o644]


def test_a_directory_may_be_elsewhere(place, tmp_path):
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "data").symlink_to("disk")
    assert place({"path": "data", "state": "directory", "mode": "0750"})["changed"]
    assert (tmp_path / "data").is_symlink()
    assert mode_of(tmp_path / "disk") == 0o750


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"path": "folder", "content": "", "mode": "0644"}, "is no file: move it away", id="a directory for a file"),
        pytest.param({"path": "folder", "state": "absent"}, "is no file: move it away", id="a directory to remove"),
        pytest.param({"path": "folder", "state": "link", "target": "x"}, "is no link: move it away", id="a directory for a link"),
        pytest.param({"path": "file", "state": "directory"}, "is no directory: move it away", id="a file for a directory"),
        pytest.param({"path": "none", "mode": "0600"}, "give its content as well", id="only a mode of what is not there"),
        pytest.param({"path": "file/below", "content": "", "mode": "0600"}, "is not a directory", id="below a file"),
        pytest.param({"path": "none/file", "content": "", "mode": "0600"}, "No such file or directory", id="no folder"),
        pytest.param({"path": "file", "content": "", "mode": "rw"}, "give an octal number in quotes", id="no mode"),
        pytest.param({"path": "new", "content": "", "mode": "0600", "owner": "nobody-at-all"}, "nobody-at-all", id="no owner"),
        pytest.param(
            {"path": "new", "content": ""}, "state is file but all of the following are missing: mode", id="mode missing"
        ),
    ],
)
def test_what_cannot_be_made_is_refused_and_left(place, tmp_path, entry, expected):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("theirs\n")
    result = place(entry)
    assert result["failed"]
    assert expected in result["msg"]
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "theirs\n"


def test_whoever_makes_it_first_has_it(place, tmp_path):
    def ours(content, **options):
        return place({"path": "held", "content": content, "mode": "0644", "conflict": "it has %s."}, **options)

    assert ours("a\n")["changed"]
    assert not ours("a\n")["changed"]
    for check in (True, False):
        assert ours("b\n", check=check)["msg"] == "it has a."
    assert os.listdir(tmp_path) == ["held"] and (tmp_path / "held").read_text() == "a\n"


def test_of_runs_at_once_one_has_it(tmp_path):
    """All have looked before any writes, as two controllers do that find the same new host."""
    path = tmp_path / "held"
    before, together = look(str(path)), threading.Barrier(16)

    def run(content):
        together.wait()
        try:
            apply(Wanted(str(path), content=content, mode=0o644, exclusive=True, **ME), before, ["state"], lambda _path: None)
        except FileExistsError:
            return None
        return content

    with ThreadPoolExecutor(16) as runs:
        winners = {content for content in runs.map(run, [b"a", b"b"] * 8) if content}
    assert winners == {path.read_bytes()}
    assert os.listdir(tmp_path) == ["held"]


@pytest.mark.parametrize(("options", "seconds_old"), [({}, 0), ({"check": True}, 1000)], ids=["run", "check mode"])
def test_the_time_of_a_run_is_no_change(place, tmp_path, options, seconds_old):
    entry = {"path": "metrics.prom", "content": "a 1\n", "mode": "0644", "touch": True}
    place(entry)
    then = time.time() - 1000
    os.utime(tmp_path / "metrics.prom", (then, then))
    assert place(entry, **options)["changed"] is False
    assert time.time() - (tmp_path / "metrics.prom").stat().st_mtime == pytest.approx(seconds_old, abs=60)
