# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.slm.copilot.plugins.module_utils._host import installation, state
from ansible_collections.slm.copilot.plugins.modules import host_info


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def test_read_sysfs(tmp_path):
    write(tmp_path, "devices/system/node/node0/cpulist", "0-9\n")
    write(tmp_path, "devices/system/node/node12/cpulist", "10-19\n")
    write(tmp_path, "devices/system/cpu/cpu3/topology/thread_siblings_list", "3,13\n")
    write(tmp_path, "devices/system/cpu/cpufreq/topology/thread_siblings_list", "no cpu\n")
    write(tmp_path, "hypervisor/type", "xen\n")
    write(tmp_path, "class/dmi/id/sys_vendor", "QEMU\n")
    write(tmp_path, "class/dmi/id/product_name", "Standard PC\n")
    assert state.read_sysfs(tmp_path) == {
        "numa_nodes": {0: "0-9", 12: "10-19"},
        "thread_siblings": {3: "3,13"},
        "hypervisor_type": "xen",
        "dmi": "QEMU Standard PC",
    }


def test_read_sysfs_where_there_is_none(tmp_path):
    assert state.read_sysfs(tmp_path / "missing") == {
        "numa_nodes": {},
        "thread_siblings": {},
        "hypervisor_type": "",
        "dmi": "",
    }


def told(capsys, **arguments):
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        host_info.main()
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_paths_are_told_with_their_kinds(tmp_path, capsys):
    write(tmp_path, "units/slm-copilot.service", "[Unit]")
    write(tmp_path, "units/other.service", "[Unit]")
    (tmp_path / "units/slm-copilot-masked.service").symlink_to("/nowhere")
    (tmp_path / "units/slm-copilot-own.service.d").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ["units/slm-copilot*", "pipe", "missing", "units/other.service/below"]
    status, result = told(capsys, paths=[str(tmp_path / name) for name in names])
    assert (status, result["changed"]) == (0, False)
    assert result["paths"] == {
        str(tmp_path / "units/slm-copilot.service"): "file",
        str(tmp_path / "units/slm-copilot-masked.service"): "link",
        str(tmp_path / "units/slm-copilot-own.service.d"): "directory",
        str(tmp_path / "pipe"): "special",
    }


def test_a_path_that_cannot_be_looked_at_is_not_taken_for_missing(tmp_path, capsys):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    status, result = told(capsys, paths=[str(loop / "api-keys")])
    assert status == 1
    assert str(loop) in result["msg"]


def test_releases_are_told_by_their_prefix(tmp_path, capsys):
    write(tmp_path, "engine/1.0/manifest.json", '{"files": {}}')
    (tmp_path / "engine/current").symlink_to("1.0")
    write(tmp_path, "cut-off/1.0/bin/program", "")
    (tmp_path / "cut-off/current").symlink_to("1.0")
    prefixes = {name: str(tmp_path / name) for name in ("engine", "cut-off", "missing")}
    _status, result = told(capsys, releases=list(prefixes.values()))
    assert result["releases"] == {prefixes["engine"]: "1.0", prefixes["cut-off"]: None, prefixes["missing"]: None}


WHOLE = "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\nDescription: half-installed\n"


@pytest.mark.parametrize(
    ("status", "updates", "expected"),
    [
        (WHOLE, [], False),
        (WHOLE, ["tmp.i"], False),
        (WHOLE, ["0001"], True),
        (WHOLE + "\nPackage: c\nStatus: install ok unpacked\n", [], True),
        (WHOLE + "\nPackage: c\nStatus: install reinstreq half-installed\n", [], True),
        (WHOLE + "\nPackage: c\nStatus: install ok triggers-pending\n", [], True),
        (None, [], False),
    ],
    ids=["whole", "nothing begun", "killed", "unpacked", "half unpacked", "without its triggers", "no dpkg"],
)
def test_an_interrupted_installation_of_packages_is_seen(tmp_path, capsys, monkeypatch, status, updates, expected):
    monkeypatch.setattr(installation, "DPKG_STATUS", tmp_path / "status")
    monkeypatch.setattr(installation, "DPKG_UPDATES", tmp_path / "updates")
    for name in updates:
        write(tmp_path, f"updates/{name}", "")
    if status:
        write(tmp_path, "status", status)
    _status, result = told(capsys)
    assert result["packages_interrupted"] is expected


def test_the_cpu_is_among_it(capsys):
    _status, result = told(capsys)
    assert result["cpu"]["usable_cpus"] == len(os.sched_getaffinity(0))
    assert (result["paths"], result["releases"]) == ({}, {})


def test_what_is_wrong_with_the_cpu_is_said(capsys, monkeypatch):
    monkeypatch.setattr(state, "read_text", lambda _path: "")
    status, result = told(capsys)
    assert status == 1
    assert "/proc/cpuinfo lists no processor" in result["msg"]
