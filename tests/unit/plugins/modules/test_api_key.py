# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import parse_key_file
from ansible_collections.slm.copilot.plugins.modules import api_key, api_key_info

GIVEN = "sk-given-given-given"


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "api-keys"


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def keys_in(path):
    return parse_key_file(path.read_bytes())


def everything(result):
    return json.dumps(result)


def test_check_run_check_run(run_module, key_file):
    parameters = {"path": str(key_file), "keys": [{"name": "alice"}, {"name": "bob", "value": GIVEN}]}
    foreseen = run_module(api_key, {**parameters, "return_values": True}, check=True)
    assert foreseen["changed"] and foreseen["names"] == ["alice", "bob"]
    assert "alice" not in foreseen["values"]
    assert not key_file.exists()

    made = run_module(api_key, parameters)
    assert made["changed"] and made["names"] == ["alice", "bob"] and "values" not in made
    assert mode_of(key_file) == 0o640
    keys = keys_in(key_file)
    assert keys["bob"] == GIVEN
    assert not any(key in everything(made) for key in keys.values())

    written = key_file.stat()
    assert not run_module(api_key, parameters, check=True)["changed"]
    assert not run_module(api_key, parameters)["changed"]
    assert (key_file.stat().st_ino, key_file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert set(os.listdir(key_file.parent)) == {".lock", "api-keys"}


def test_a_file_that_was_saved_on_windows_is_mended(run_module, key_file):
    parameters = {"path": str(key_file), "keys": [{"name": "alice"}, {"name": "bob", "value": GIVEN}]}
    run_module(api_key, parameters)
    good = key_file.read_bytes()
    key_file.write_bytes(good.replace(b"\n", b"\r\n"))
    foreseen = run_module(api_key, parameters, check=True, diff=True)
    assert foreseen["changed"] and "carriage returns" in foreseen["diff"][0]["before"]
    assert b"\r" in key_file.read_bytes()
    assert run_module(api_key, parameters)["changed"]
    assert key_file.read_bytes() == good
    assert not run_module(api_key, parameters)["changed"]


def test_generated_key_is_returned_where_asked_for(run_module, key_file):
    result = run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}], "return_values": True})
    assert result["values"] == keys_in(key_file)


def test_rotation_changes_one_key_and_the_diff_has_no_keys(run_module, key_file):
    run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}, {"name": "bob"}]})
    before = keys_in(key_file)
    result = run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice", "state": "rotated"}]}, check=False, diff=True)
    after = keys_in(key_file)
    assert result["changes"] == {"alice": "rotated"}
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("alice\nbob\n", "alice (rotated)\nbob\n")
    assert after["alice"] != before["alice"] and after["bob"] == before["bob"]
    assert not any(key in everything(result) for key in [*before.values(), *after.values()])


def test_check_mode_does_not_return_the_key_it_would_rotate(run_module, key_file):
    run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}, {"name": "bob"}]})
    before = keys_in(key_file)
    parameters = {"path": str(key_file), "keys": [{"name": "alice", "state": "rotated"}], "return_values": True}
    result = run_module(api_key, parameters, check=True)
    assert result["changed"] and result["values"] == {"bob": before["bob"]}
    assert keys_in(key_file) == before


def test_a_wrong_mode_is_corrected_without_touching_the_keys(run_module, key_file):
    run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}]})
    before = keys_in(key_file)
    key_file.chmod(0o644)
    foreseen = run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}]}, check=True)
    assert foreseen["changed"] and mode_of(key_file) == 0o644
    result = run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}]})
    assert result["changed"] and result["changes"] == {}
    assert mode_of(key_file) == 0o640 and keys_in(key_file) == before


@pytest.mark.parametrize("old_mode", [pytest.param(None, id="new_file"), pytest.param(0o666, id="open_file")])
def test_new_keys_are_never_readable_by_others(run_module, key_file, monkeypatch, old_mode):
    if old_mode:
        run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}]})
        key_file.chmod(old_mode)
    seen = []

    def watch(real):
        def watched(*args, **kwargs):
            real(*args, **kwargs)
            if key_file.exists() and b"bob" in key_file.read_bytes():
                seen.append(mode_of(key_file))

        return watched

    for name in ("replace", "chmod", "chown", "lchown"):
        monkeypatch.setattr(os, name, watch(getattr(os, name)))
    run_module(api_key, {"path": str(key_file), "keys": [{"name": "bob"}]})
    assert seen and not any(mode & 0o007 for mode in seen)
    assert mode_of(key_file) == 0o640


def test_a_failed_write_leaves_the_old_file_and_nothing_else(run_module, key_file, monkeypatch):
    run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice"}]})
    before = key_file.read_bytes()

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    result = run_module(api_key, {"path": str(key_file), "keys": [{"name": "bob"}]})
    assert result["failed"] and result["msg"] == f"path: {key_file} cannot be written: No space left on device"
    assert key_file.read_bytes() == before
    assert set(os.listdir(key_file.parent)) == {".lock", "api-keys"}


@pytest.mark.parametrize("module", [pytest.param(api_key, id="api_key"), pytest.param(api_key_info, id="api_key_info")])
def test_a_foreign_file_is_refused_unread_and_kept(run_module, key_file, module):
    key_file.write_text(f"{GIVEN}\n")
    parameters = {"path": str(key_file)}
    if module is api_key:
        parameters["keys"] = [{"name": "alice"}]
    result = run_module(module, parameters)
    assert result["failed"] and "is not a key file of" in result["msg"]
    assert GIVEN not in everything(result)
    assert key_file.read_text() == f"{GIVEN}\n"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        pytest.param({"keys": [{"name": "a", "value": "sk-secret"}]}, "the value of 'a' has 9 characters", id="short"),
        pytest.param({"keys": [{"name": "a"}, {"name": "a"}]}, "'a' is listed twice", id="name_twice"),
        pytest.param(
            {"keys": [{"name": "a", "state": "rotated", "value": "sk-secret-sk-secret"}]},
            "value goes with state=present only",
            id="value_and_rotated",
        ),
        pytest.param(
            {"path": "/nowhere/at/all", "keys": [{"name": "a", "value": "sk-secret-sk-secret"}]},
            "the folder of /nowhere/at/all does not exist; make it first",
            id="no_folder",
        ),
        pytest.param({"path": "/", "keys": [{"name": "a"}]}, "/ cannot be read: Is a directory", id="folder"),
    ],
)
def test_errors(run_module, key_file, parameters, text):
    result = run_module(api_key, {"path": str(key_file), **parameters})
    assert result["failed"] and text in result["msg"]
    assert "sk-secret" not in everything(result)
    assert not key_file.exists()


def test_info(run_module, key_file):
    assert run_module(api_key_info, {"path": str(key_file), "return_values": True})["exists"] is False
    run_module(api_key, {"path": str(key_file), "keys": [{"name": "alice", "value": GIVEN}, {"name": "bob"}]})
    names_only = run_module(api_key_info, {"path": str(key_file)})
    assert names_only["exists"] and names_only["names"] == ["alice", "bob"]
    assert "values" not in names_only and GIVEN not in everything(names_only)
    result = run_module(api_key_info, {"path": str(key_file), "return_values": True}, check=True)
    assert result["values"] == keys_in(key_file) and not result["changed"]
    unreadable = run_module(api_key_info, {"path": str(key_file.parent)})
    assert unreadable["failed"] and "cannot be read: Is a directory" in unreadable["msg"]
