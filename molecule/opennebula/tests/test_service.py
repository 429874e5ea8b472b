# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VMs of a service find each other by OneGate: they come and go without a restart, and no key leaves the VM that made it."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

import contexts
import pytest
from conftest import VM, at_the_front_end, told_to_onegate
from developers import eventually

SERVER, BALANCER = ({"ONEAPP_COPILOT_SERVICE_ROLE": role} for role in ("server", "balancer"))
LOOKS = 180  # seconds in which the VMs have looked twice, and applied what they saw


@pytest.fixture(scope="module")
def balancer(vms: dict[str, VM]) -> VM:
    """The balancer of a service with one server."""
    for name in ("second", "balancer"):
        assert vms[name].wait("bootstrap_success", "bootstrap_failure", "configure_failure") == "bootstrap_success"
    at_the_front_end(roles={"server": ["14"], "balancer": ["13"]}, started={}, failing=False)
    vms["balancer"].run("systemctl start slm-copilot")
    vms["balancer"].set(**BALANCER)
    assert vms["balancer"].apply() == 0, vms["balancer"].read("/etc/motd")
    return vms["balancer"]


def backends(balancer: VM) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in json.loads(balancer.read("/run/slm-copilot-proxy/state/state.json"))["backends"]}


def health(balancer: VM) -> dict[str, str]:
    """Returns how its backends are."""
    return {name: one["health"] for name, one in backends(balancer).items()}


def started(balancer: VM) -> str:
    return balancer.run("systemctl show --property=ActiveEnterTimestamp slm-copilot-proxy slm-copilot-gateway slm-copilot")


def follower_says(vm: VM, words: str) -> bool:
    """Whether the follower has said so since its last start."""
    run = vm.run("systemctl show --property=InvocationID --value slm-copilot-service")
    return words in vm.run(f"journalctl _SYSTEMD_INVOCATION_ID={run} --no-pager --output=cat")


def test_a_balancer_finds_the_server_and_they_trust_each_other(balancer, vms, tmp_path):
    eventually(lambda: health(balancer).get("vm-14") == "ready", "the server is in the pool", LOOKS)
    developer = balancer.developer(tmp_path)
    balancer.run("systemctl stop slm-copilot")  # its own engine
    eventually(lambda: developer.chat().status == 200, "the server answers")
    balancer.run("systemctl start slm-copilot")
    assert "vm-14" in json.dumps(json.loads(balancer.read("/etc/slm-copilot/report.json"))["backends"])


def test_no_secret_is_published(balancer, vms):
    published = json.dumps({vmid: told_to_onegate(vmid) for vmid in ("11", "13", "14")})
    assert "COPILOT_KEYS" in published
    for vm in (balancer, vms["second"]):
        for file in ("backend-keys", "api-keys"):
            keys = vm.run(f"grep -h ^sk- /etc/slm-copilot/appliance/.slm-copilot/{file} || true").split()
            assert not [key for key in keys if key in published]
    assert "PRIVATE" not in published


def test_a_server_joins_without_a_restart(balancer, vms):
    before = started(balancer)
    vms["first"].set(**SERVER)
    assert vms["first"].apply() == 0
    at_the_front_end(roles={"server": ["14", "11"], "balancer": ["13"]})
    eventually(lambda: health(balancer).get("vm-11") == "ready", "the second server is in the pool", LOOKS)
    assert started(balancer) == before
    zones = {one["id"]: one["zone"] for one in json.loads(balancer.read("/etc/slm-copilot/proxy/pool.json"))["backends"]}
    assert zones["vm-11"] == "madrid"


@pytest.mark.parametrize(
    ("front_end", "token", "words"),
    [
        ({}, contexts.STARTED - 1, "answers 401 to GET /service"),
        ({"started": {"13": contexts.STARTED + 1}}, contexts.STARTED, "answers 401 to GET /service"),
        ({"failing": True}, contexts.STARTED, "answers 500 to GET /service"),
    ],
    ids=["a wrong token", "a token that has ended", "OneGate fails"],
)
def test_the_pool_stays_as_it_was_when_onegate_refuses(balancer, tmp_path, front_end, token, words):
    before = health(balancer)
    assert set(before) == {"copilot", "vm-11", "vm-14"}
    try:
        at_the_front_end(**front_end)
        balancer.set(token, **BALANCER)
        balancer.run("systemctl restart slm-copilot-service")
        eventually(lambda: follower_says(balancer, words), words, LOOKS)
        assert health(balancer) == before
        assert balancer.developer(tmp_path).chat().status == 200
    finally:
        at_the_front_end(started={}, failing=False)
        balancer.set(**BALANCER)


def test_a_server_that_is_removed_ends_its_answers_first(balancer, vms, tmp_path):
    """As OneFlow removes one: it shuts down, and is of the service until it has."""
    developer, answers = balancer.developer(tmp_path), []
    balancer.run("systemctl stop slm-copilot")
    vms["first"].run("systemctl stop slm-copilot")
    eventually(lambda: health(balancer)["vm-11"] != "ready" and health(balancer)["copilot"] != "ready", "one server is left")
    asking = threading.Thread(target=lambda: answers.append(developer.stream(max_tokens=2000, ignore_eos=True)))
    asking.start()
    eventually(lambda: backends(balancer)["vm-14"]["in_flight"] == 1, "it answers")
    vms["first"].run("systemctl start slm-copilot")
    stopping = subprocess.Popen(["podman", "stop", "--time=170", "opennebula-second"], stdout=subprocess.PIPE)
    eventually(lambda: health(balancer)["vm-14"] == "draining", "it takes no new requests")
    assert asking.is_alive()
    asking.join(150)
    assert (answers[0].finished, answers[0].error) == (True, "")
    assert stopping.wait(60) == 0
    balancer.run("systemctl start slm-copilot")
    at_the_front_end(roles={"server": ["11"], "balancer": ["13"]})
    eventually(lambda: "vm-14" not in health(balancer), "it has left the pool", LOOKS)
    assert developer.chat().status == 200


def test_a_server_lets_nobody_in_who_has_left(balancer, vms):
    first = vms["first"]
    known = "cat /etc/slm-copilot/keys.map | grep -c balancer/"
    assert first.run(known) == "1"
    at_the_front_end(roles={"server": ["11"], "balancer": []})
    eventually(lambda: first.host.run(known).stdout.strip() == "0", "the balancer's key is refused", LOOKS)
    eventually(lambda: health(balancer)["vm-11"] == "refused", "the balancer notices")
    assert set(health(balancer)) == {"copilot", "vm-11"}  # OneGate tells it nothing, since it is of no service
