# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the playbook writes, for whom, and who can read it."""

from __future__ import annotations

import stat
from pathlib import Path

from conftest import Developer, Operator, clients_of
from people import FLEET


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


def test_a_host_that_serves_nothing_yet_is_named(developer: Developer, operator: Operator) -> None:
    run = clients_of(operator, "clients-hub")
    assert run.status != 0
    assert "clients-hub has no report in /etc/slm-copilot/report.json" in " ".join(run.output.split())


def test_of_a_fleet_with_balancers_the_controller_has_the_keys(developer: Developer, operator: Operator, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    (fleet / "ca").mkdir(parents=True)
    (fleet / "ca/ca.pem").write_bytes((FLEET / "ca/ca.pem").read_bytes())
    (fleet / "ca/ca-key.pem").write_bytes((FLEET / "ca/ca-key.pem").read_bytes())
    (fleet / "api-keys").write_text(
        "# API keys, each under its name. Managed by slm.copilot.api_key.\n# name: shared\nsk-shared-shared-shared\n"
        "# name: alice\nsk-alice-alice-alice\n"
    )
    run = operator.run(
        playbook="playbooks/clients.yml",
        groups={"copilot_servers": ["clients-one"], "copilot_balancers": ["clients-one"]},
        copilot_fleet_dir=str(fleet),
        copilot_users=[{"name": "alice"}],
    )
    assert run.status == 0, run.output[-3000:]
    assert keys_in(fleet / "clients/alice") == ["sk-alice-alice-alice"]
