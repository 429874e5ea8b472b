# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host with an IPv6 address only is known by: in its report, at login, in clients' settings, at the end of a run.

Pool and firewall are in the unit tests of their filters.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from gateway_rig import play

CHECKOUT = Path(__file__).resolve().parents[2]
URL = "https://[2001:db8::10]:8443"
PLAY = [
    {
        "hosts": "copilot_servers",
        "gather_facts": False,
        "tasks": [
            {"slm.copilot.host_info": None, "register": "copilot_host_result"},
            {"ansible.builtin.import_role": {"name": "slm.copilot.copilot", "tasks_from": "variables"}},
            {"ansible.builtin.import_role": {"name": "slm.copilot.report"}},
            {
                "slm.copilot.run_summary": {"before": {}, "after": {"v6": "{{ report_result.now }}"}, "keys": "a file"},
                "run_once": True,
            },
        ],
    }
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("ipv6")
    files = {"people": folder / "config", "machines": folder / "report.json", "motd": folder / "motd"}
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_host": "2001:db8::10",
        "copilot_fleet_dir": str(folder / "fleet"),
        "copilot_user": "root",
        **{f"report_{name}_path": str(path) for name, path in files.items()},
    }
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY))
    (folder / "hosts.yml").write_text(yaml.safe_dump({"copilot_servers": {"hosts": {"v6": host}}}))
    done = play(folder / "play.yml", folder / "hosts.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    return {"run": done.stdout, **{name: path.read_text() for name, path in files.items()}}


def test_the_address_has_its_brackets_everywhere(told: dict[str, str]) -> None:
    assert json.loads(told["machines"])["endpoint"] == f"{URL}/v1"
    assert f"v6    {URL}/v1" in told["run"]
    for name in ("people", "motd"):
        assert f"{URL}/v1" in told[name]
    for text in told.values():
        assert not re.search(r"(?<!\[)2001:db8::10", text), "without brackets"


def test_so_do_the_clients_settings(told: dict[str, str]) -> None:
    clients = told["people"].partition("[Clients]")[2]
    assert clients.count(f"{URL}/v1") >= 7, "aider, OpenCode, Cline, Continue, pi, curl, the SDK"
