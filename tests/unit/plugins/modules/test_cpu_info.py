# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.slm.copilot.plugins.modules import cpu_info


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
    assert cpu_info.read_sysfs(tmp_path) == {
        "numa_nodes": {0: "0-9", 12: "10-19"},
        "thread_siblings": {3: "3,13"},
        "hypervisor_type": "xen",
        "dmi": "QEMU Standard PC",
    }


def test_read_sysfs_where_there_is_none(tmp_path):
    assert cpu_info.read_sysfs(tmp_path / "missing") == {
        "numa_nodes": {},
        "thread_siblings": {},
        "hypervisor_type": "",
        "dmi": "",
    }


@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check-mode"])
def test_module_on_this_machine(check_mode, capsys):
    with patch_module_args({"_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as ended:
        cpu_info.main()
    result = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert result["changed"] is False
    assert result["cpu"]["usable_cpus"] == len(os.sched_getaffinity(0))
    documented = yaml.safe_load(cpu_info.RETURN)["cpu"]["contains"]
    assert result["cpu"].keys() == documented.keys()


def test_module_fails_with_the_reason(capsys, monkeypatch):
    monkeypatch.setattr(cpu_info, "read_text", lambda _path: "")
    with patch_module_args(), pytest.raises(SystemExit) as ended:
        cpu_info.main()
    result = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert "/proc/cpuinfo lists no processor" in result["msg"]
