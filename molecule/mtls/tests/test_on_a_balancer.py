# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates in front of LiteLLM: the host of the other tests becomes a balancer, which it stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from conftest import CLIENTS, REFUSED, Developer, keys_in
from developers import eventually
from people import FLEET, PROJECT, Operator
from testinfra.host import Host

BALANCER = {"copilot_balancers": ["mtls-1"]}
UNIT = "slm-copilot-proxy"


@pytest.fixture(scope="module", autouse=True)
def keys_before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Makes the host a balancer. Returns the keys that developers had on the server that stood alone."""
    keys = keys_in((FLEET / "api-keys").read_text())
    hosts = PROJECT / "molecule/mtls/inventory/hosts.yml"
    run = Operator(tmp_path_factory.mktemp("balancer"), [hosts]).run(groups=BALANCER)
    assert run.status == 0, run.output[-3000:]
    return keys


def test_developers_keep_their_keys(keys: dict[str, str], keys_before: dict[str, str]) -> None:
    assert keys == keys_before


def served(server: Host) -> int:
    """How many requests LiteLLM has handed on."""
    state = json.loads(server.check_output("cat /run/slm-copilot-proxy/state/state.json"))
    return sum(one["served"] for one in state["backends"])


def test_certificate_and_key_are_answered_through_litellm(server: Host, developer: Callable[..., Developer]) -> None:
    before = served(server)
    for name in ("alice", "bob"):
        assert developer(name).chat().status == 200
        stream = developer(name).stream()
        assert stream.finished and stream.pieces and not stream.error
    eventually(lambda: served(server) == before + 4, "LiteLLM has handed on all four")


def test_a_key_alone_is_refused(keys: dict[str, str]) -> None:
    """With an answer: the host is a server for other balancers too, which show no certificate."""
    answer = Developer(keys["alice"]).chat()
    assert (answer.status, answer.json()["error"]["code"]) == (403, "client_certificate_required")


def test_the_checks_pass(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/validate.yml", groups=BALANCER)
    assert run.status == 0, run.output[-3000:]


def test_the_reports_tell_of_the_backends(operator: Operator, server: Host) -> None:
    report = json.loads(server.check_output("cat /etc/slm-copilot/report.json"))
    jsonschema.validate(report, json.loads((PROJECT / "docs/report.schema.json").read_text()))
    assert report["backends"] == [{"id": "mtls-1", "zone": report["backends"][0]["zone"], "health": "ready", "detail": ""}]
    assert report["units"] == [f"{name}.service" for name in ("slm-copilot", "slm-copilot-router", UNIT, "slm-copilot-gateway")]
    people = server.check_output("cat /etc/one-appliance/config")
    assert "mode           = balancer" in people
    assert "mtls-1 = ready, zone" in people
    greeting = server.check_output("cat /etc/motd.d/slm-copilot")
    for fact in ("mtls-1 ready", f"-u {UNIT}", "until 2"):
        assert fact in greeting
    run = operator.run(playbook="playbooks/report.yml", groups=BALANCER)
    assert "1/1 ready" in run.output


@pytest.fixture
def starts(server: Host) -> Callable[[], dict[str, str]]:
    """Tells which start of each service runs now."""
    units = [f"slm-copilot{name}.service" for name in ("", "-router", "-proxy")]
    return lambda: {unit: server.check_output(f"systemctl show --property=InvocationID --value {unit}") for unit in units}


def test_a_run_that_was_cut_off_before_the_restarts_is_made_good(
    operator: Operator, server: Host, starts: Callable[[], dict[str, str]], developer: Callable[..., Developer]
) -> None:
    """Of the gateway alone it is in test_gateway.py."""
    before = starts()
    paths = " ".join(f"/etc/systemd/system/{unit}" for unit in before)
    server.check_output(f"touch {paths}")  # as new as if a run had just written them
    run = operator.run(groups=BALANCER)
    assert run.status == 0, run.output[-3000:]
    after = starts()
    assert [unit for unit in before if after[unit] == before[unit]] == [], "these run with what was there before"
    assert developer("alice").chat().status == 200


def test_a_run_for_the_gateway_alone_changes_nothing(operator: Operator) -> None:
    run = operator.run("--tags", "gateway", groups=BALANCER)
    assert run.status == 0, run.output[-3000:]
    assert run.changed("mtls-1") == 0


def test_who_is_revoked_is_refused(operator: Operator, developer: Callable[..., Developer], tmp_path: Path) -> None:
    kept = shutil.copytree(CLIENTS / "bob", tmp_path / "bob")
    key = developer("alice").key
    assert developer("bob", key=key, folder=kept).chat().status == 200
    users = [{"name": "alice"}, {"name": "bob", "state": "absent"}]
    run = operator.run(playbook="playbooks/clients.yml", groups=BALANCER, copilot_users=users)
    assert run.status == 0, run.output[-3000:]
    with pytest.raises(REFUSED):
        developer("bob", key=key, folder=kept).chat()
    assert developer("alice").chat().status == 200


def test_instead_of_a_key(operator: Operator, server: Host, developer: Callable[..., Developer], keys: dict[str, str]) -> None:
    assert developer("alice", key=None).chat().status == 401
    run = operator.run("-vvv", "--diff", "--tags", "gateway", groups=BALANCER, copilot_mtls_replaces_key=True)
    assert run.status == 0, run.output[-3000:]
    assert not [key for key in keys.values() if key in run.output]
    before = served(server)
    assert developer("alice", key=None).chat().status == 200
    eventually(lambda: served(server) == before + 1, "LiteLLM has handed it on")
    assert developer("alice", key="sk-wrong-wrong-wrong").chat().status == 401
    assert Developer(None).chat().status == 403
