# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates through the playbooks, and a host that asks for them. What needs no host is in tests/contract, in
test_client_certificates.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ADDRESS, CLIENT_CA, CLIENTS, FLEET_CA, REFUSED, Developer
from people import Operator
from testinfra.host import Host
from tls_scan import scan, weaknesses


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_developer_with_certificate_and_key_is_answered(developer: Callable[..., Developer], name: str) -> None:
    assert developer(name).chat().status == 200
    stream = developer(name).stream()
    assert stream.finished and stream.pieces


def test_a_second_run_changes_nothing(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/clients.yml")
    assert run.status == 0, run.output[-3000:]
    assert operator.run(playbook="playbooks/clients.yml").changed("mtls-1") == 0
    assert (CLIENT_CA / "ca.pem").read_bytes() != FLEET_CA.read_bytes(), "a CA of its own"


def test_who_is_taken_off_is_revoked_at_once(operator: Operator, developer: Callable[..., Developer], tmp_path: Path) -> None:
    kept = shutil.copytree(CLIENTS / "bob", tmp_path / "bob")
    key = developer("alice").key
    assert developer("bob", key=key, folder=kept).models() == 200

    users = [{"name": "alice"}, {"name": "bob", "state": "absent"}]
    run = operator.run("--diff", playbook="playbooks/clients.yml", copilot_users=users)
    assert run.status == 0, run.output[-3000:]
    with pytest.raises(REFUSED):
        developer("bob", key=key, folder=kept).models()
    assert not (CLIENTS / "bob").exists()
    assert developer("alice").models() == 200

    shutil.rmtree(CLIENTS / "alice")  # lost, and issued again
    run = operator.run("-vvv", "--diff", playbook="playbooks/clients.yml")
    assert run.status == 0, run.output[-3000:]
    assert developer("bob", key=key).models() == 200, "bob comes back"
    with pytest.raises(REFUSED):
        developer("bob", key=key, folder=kept).models()
    assert developer("alice").models() == 200
    password = (CLIENTS / "alice/client-p12-password").read_text().strip()
    private = (CLIENTS / "alice/client-key.pem").read_text().splitlines()[1:-1]
    assert not [secret for secret in (password, *private) if secret in run.output]


def test_the_checks_pass_with_a_certificate(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/validate.yml")
    assert run.status == 0, run.output[-3000:]


def test_the_log_names_the_developer(server: Host, developer: Callable[..., Developer]) -> None:
    assert developer("alice").models() == 200
    log = server.check_output("journalctl --unit=slm-copilot-gateway --output=cat --no-pager --lines=5")
    assert "client=alice" in log


def test_tls_has_no_weakness(tmp_path: Path) -> None:
    mine = [f"--cert={CLIENTS / 'alice/client.pem'}", f"--key={CLIENTS / 'alice/client-key.pem'}"]
    assert weaknesses(scan(f"[{ADDRESS}]:8443", tmp_path, *mine)) == []
