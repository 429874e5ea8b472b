# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import os

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.slm.copilot.plugins.module_utils._host import state
from ansible_collections.slm.copilot.plugins.modules import cpu_info


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
    monkeypatch.setattr(state, "read_text", lambda _path: "")
    with patch_module_args(), pytest.raises(SystemExit) as ended:
        cpu_info.main()
    result = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert "/proc/cpuinfo lists no processor" in result["msg"]
