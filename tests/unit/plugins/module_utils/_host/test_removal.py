# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is noted while installing, and what goes by it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host import installed, removal
from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import ABSENT, Present, look

DPKG = """Package: bash
Status: install ok installed
Description: shell
 Package: none
 Status: none

Package: haproxy
Status: deinstall ok config-files
"""


@pytest.fixture
def places(tmp_path):
    for name in ("opt/llama.cpp", "etc/proxy", "var/models", "cache"):
        (tmp_path / name).mkdir(parents=True)
    return removal.Places(*(str(tmp_path / name) for name in ("opt", "etc", "var", "cache")))


def written(record, path, text):
    before = look(str(path))
    path.write_text(text)
    record.note(str(path), before, look(str(path)))


def plan(record, places, purge="none", units=()):
    return removal.plan(record, places, purge, look, units)


def test_only_what_is_installed_counts():
    assert installed.installed_packages(DPKG) == ["bash"]


def test_a_package_gets_the_mark_back_that_it_had():
    states = "Package: gcc\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: vim\nArchitecture: amd64\nAuto-Installed: 0\n"
    assert installed.automatic_packages(states) == ["gcc"]
    assert removal.marks(before=["gcc", "gone", "libc6"], now=["libc6"], there=["gcc", "libc6", "vim"]) == ["gcc"]


def test_packages_of_a_host_without_a_record_are_not_known():
    assert installed.begin(["haproxy"], ["gcc"], ["root"], set_up=True) == installed.Record(None, [], {}, [])


def test_a_folder_that_was_there_is_not_ours():
    record = installed.Record([])
    record.note("/etc", Present("directory"), Present("directory", mode=0o755))
    record.note("/etc/ours", ABSENT, Present("directory"))
    record.note("/etc/ours", Present("directory"), Present("directory", mode=0o700))
    assert record.paths == {"/etc/ours": "directory"}
    record.note("/etc/ours", Present("directory"), ABSENT)
    assert record.paths == {}


def test_a_record_comes_back(tmp_path):
    record = installed.begin(["b", "a"], ["b"], ["root"], set_up=False)
    written(record, tmp_path / "file", "1")
    path = tmp_path / "installed.json"
    assert installed.read(str(path)) is None
    installed.write(str(path), record)
    assert (installed.read(str(path)), path.stat().st_mode & 0o777) == (record, 0o600)
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(CopilotError, match="no record"):
        installed.read(str(path))


def test_what_somebody_changed_stays(places, tmp_path):
    record = installed.Record([])
    written(record, tmp_path / "etc/haproxy.cfg", "ours")
    written(record, tmp_path / "etc/config.yaml", "ours")
    (tmp_path / "etc/config.yaml").write_text("theirs")
    (tmp_path / "etc/foreign").write_text("theirs")
    made = plan(record, places)
    assert made.files == [str(tmp_path / "etc/haproxy.cfg")]
    assert made.kept[str(tmp_path / "etc/config.yaml")] == "somebody changed it since"


@pytest.mark.parametrize(("purge", "key", "models"), [("none", 0, 0), ("keys", 1, 0), ("models", 0, 1), ("all", 1, 1)])
def test_keys_and_models_go_when_they_are_named(places, tmp_path, purge, key, models):
    record = installed.Record([])
    path = tmp_path / "etc/server-key.pem"
    written(record, path, "first")
    path.write_text("renewed since")
    made = plan(record, places, purge)
    assert [str(path) in made.files, str(path) in made.kept] == [bool(key), not key]
    assert (str(tmp_path / "var/models") in made.folders) == bool(models)


def test_of_models_only_what_was_fetched_goes(places, tmp_path):
    models = tmp_path / "var/models"
    fetched = {
        "a.gguf",
        "a.gguf.json",
        "a.gguf.lock",
        "b.gguf.partial",
        "b.gguf.partial.json",
        "b.gguf.lock",
        "refused.gguf.lock",
    }
    for name in {*fetched, "own.gguf"}:
        (models / name).write_text("")
    made = plan(installed.Record([]), places, purge="models")
    assert set(made.files) == {str(models / name) for name in fetched}
    assert made.kept == {str(models / "own.gguf"): "it was not fetched by us"}
    assert str(tmp_path / "opt/llama.cpp") in made.trees


def test_a_tree_of_programs_goes_whole(places, tmp_path):
    record = installed.Record([])
    program = tmp_path / "opt/llama.cpp/program"
    written(record, program, "ours")
    program.write_text("changed since")
    made = plan(record, places)
    assert (made.files, made.trees, made.kept) == (
        [],
        [str(tmp_path / "opt/llama.cpp")],
        {str(tmp_path / "var/models"): "the models, which go with -e purge=models"},
    )


def test_folders_go_from_the_inside_out(places, tmp_path):
    record = installed.Record([], [], {str(tmp_path / "etc/proxy"): "directory"})
    folders = plan(record, places).folders
    assert folders.index(str(tmp_path / "etc/proxy")) < folders.index(str(tmp_path / "etc"))


def test_nothing_there_is_nothing_to_do(tmp_path):
    nowhere = removal.Places(*(str(tmp_path / name) for name in ("opt", "etc", "var", "cache")))
    made = plan(installed.Record([], [], {"/nowhere/at/all": "directory"}), nowhere)
    assert (made.files, made.trees, made.kept) == ([], [], {})


def test_packages_that_were_there_stay():
    said = "Purg haproxy [2.6]\nPurg liblua5.3-0:amd64 [5.3]\nRemv bash [5]\nInst other\n"
    assert removal.removable(["haproxy"], said, ["bash"]) == ["haproxy", "liblua5.3-0"]
    assert removal.removable([], said, []) == []


def test_the_account_of_folders_stays_with_them():
    there = ["root", "slm-copilot", "slm-copilot-router", "slm-copilot-engine"]
    assert removal.accounts(there, [], owners=["root", "slm-copilot"]) == ["slm-copilot-router", "slm-copilot-engine"]
    assert removal.accounts(there, ["slm-copilot-router"], owners=[]) == ["slm-copilot", "slm-copilot-engine"]


def test_who_waits_for_answers_stops_before_what_they_need():
    units = ["slm-copilot.service", "slm-copilot-gateway.service", "slm-copilot-router.service", "slm-copilot-router.socket"]
    order = removal.stop_order([*units, "slm-copilot-proxy.service"])
    assert order[:3] == ["slm-copilot-router.socket", "slm-copilot-proxy.service", "slm-copilot-router.service"]


@pytest.mark.parametrize("name", ["var-prometheus", "var/usage", "var/usage-balancer"])
def test_what_was_recorded_goes_with_all_alone(places, tmp_path, name):
    recorded = tmp_path / name
    recorded.mkdir(parents=True)
    assert str(recorded) in plan(installed.Record([]), places, "keys").folders
    (recorded / "of-a-day").touch()
    assert str(recorded) not in plan(installed.Record([]), places, "keys").folders
    assert plan(installed.Record([]), places, "keys").kept[str(recorded)].endswith("goes with -e purge=all")
    assert str(recorded) in plan(installed.Record([]), places, "all").trees
