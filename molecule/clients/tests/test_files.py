# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the playbook writes, for whom, and who can read it."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from conftest import Developer, Operator, clients_of
from people import FLEET, PROJECT


def keys_in(folder: Path) -> list[str]:
    return [path.read_text().strip() for path in folder.rglob("api-key")]


def test_only_the_operator_can_read_them(developer: Developer) -> None:
    paths = [FLEET / "clients-one", *(FLEET / "clients-one").rglob("*")]
    assert {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in paths} == {(True, 0o700), (False, 0o600)}
    listed = developer.runs("find ~/slm-copilot -printf '%y %m\\n' | sort -u").stdout.split("\n")
    assert listed[:-1] == ["d 700", "f 600"]


def test_a_second_run_changes_nothing_and_no_key_is_shown(developer: Developer, operator: Operator, tmp_path: Path) -> None:
    again = clients_of(operator, "clients-one")
    assert again.status == 0, again.output[-3000:]
    assert again.changed("clients-one") == 0

    keys = keys_in(FLEET / "clients-one")
    assert len(set(keys)) == 2
    fresh = operator.run(
        "-vvv",
        "--diff",
        playbook="playbooks/clients.yml",
        groups={"copilot_servers": ["clients-one"]},
        copilot_clients_dir=str(tmp_path / "clients"),
    )
    assert fresh.status == 0 and "alice/continue/config.yaml (added)" in fresh.output, fresh.output[-3000:]
    assert [key for key in keys if key in fresh.output] == []


def test_a_run_that_does_not_reach_all_endpoints_writes_nothing(developer: Developer, operator: Operator) -> None:
    before = sorted((FLEET / "clients-one").rglob("*"))
    run = operator.run(
        "--limit",
        "clients-one:localhost",
        playbook="playbooks/clients.yml",
        groups={"copilot_servers": ["clients-one", "clients-mtls"]},
        copilot_clients_dir=str(FLEET / "clients-one"),
    )
    assert run.status != 0 and "client_config_endpoints has clients-mtls" in " ".join(run.output.split())
    assert sorted((FLEET / "clients-one").rglob("*")) == before


def test_a_fleet_with_balancers_needs_no_host(tmp_path: Path) -> None:
    """Their keys are on the controller, so that no balancer is asked."""
    fleet = tmp_path / ".slm-copilot"
    (fleet / "ca").mkdir(parents=True)
    (fleet / "ca/ca.pem").write_bytes((FLEET / "ca/ca.pem").read_bytes())
    (fleet / "ca/ca-key.pem").touch()
    (fleet / "api-keys").write_text(
        "# API keys, each under its name. Managed by slm.copilot.api_key.\n# name: shared\nsk-shared-shared-shared\n"
        "# name: alice\nsk-alice-alice-alice\n"
    )
    inventory = tmp_path / "zones.ini"
    inventory.write_text(
        "[copilot_servers]\nmadrid-1 ansible_host=192.0.2.1\n[copilot_balancers]\nmadrid-1\nparis-1 ansible_host=192.0.2.2\n"
        '[all:vars]\ncopilot_users=[{"name": "alice"}]\n'
    )
    command = ["ansible-playbook", str(PROJECT / "playbooks/clients.yml"), "-i", str(inventory)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    alice = fleet / "clients/alice"
    assert keys_in(alice) == ["sk-alice-alice-alice"] * 2
    assert "https://192.0.2.2:8443/v1" in (alice / "paris-1/continue/config.yaml").read_text()
