# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VM follows the others of its service, keeps what it knows when OneGate fails, and lets answers end when it leaves."""

from __future__ import annotations

import json

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import render_key_file
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server.router import NobodyThere
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import boot, follow, inventory, service

KEY = "sk-of-the-balancer-for-the-server"
BALANCER = service.of_balancer({"11": KEY}, "192.0.2.13")
KNOWN = inventory.of_balancers([{"address": "192.0.2.13", "key_sha256": BALANCER["COPILOT_KEYS"].partition(":")[2]}])
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


class Gate:
    def __init__(self):
        self.vm, self.found, self.published, self.error = "11", {}, [], None

    def others(self):
        if self.error:
            raise CopilotError(self.error)
        return self.found

    def publish(self, attributes):
        self.published.append(attributes)


@pytest.fixture
def follower(tmp_path, monkeypatch):
    """The follower of a server, with a playbook that is ours to decide about."""
    places = boot.Places(tmp_path)
    for folder in (places.appliance, places.fleet / "ca", places.one, tmp_path / "context"):
        folder.mkdir(parents=True)
    (places.appliance / "image.json").write_text('{"digest": "d"}')
    report = {"endpoint": "https://192.0.2.11:8443/v1", "models": [{"name": "tiny", "context_size": 1024, "slots": 1}]}
    (tmp_path / "etc/slm-copilot/report.json").write_text(json.dumps(report))
    (places.fleet / "ca/ca.pem").write_text(PEM)
    (places.fleet / "backend-keys").write_bytes(
        render_key_file({"copilot": "sk-" + "o" * 32, "vm-12": KEY, "vm-7": "sk-of-one-that-has-left"})
    )
    (places.one / "status").write_text("bootstrap_success\n")
    places.inventory.write_text("all: {}\n")
    places.others.write_text(service.nobody("server"))
    said = []
    made = follow.Follower(boot.Boot(places, said.append))
    made.said, made.gate, made.plays, made.problem, made.state = said, Gate(), [], None, {"slots": {}, "busy": {}, "queued": {}}

    def play(*arguments, others):
        made.plays.append((arguments, others.read_text()))
        return made.problem

    monkeypatch.setattr(made.boot, "play", play)
    monkeypatch.setattr(follow, "onegate", lambda _values, _token: made.gate)
    monkeypatch.setattr(follow, "state_of", lambda _socket: made.state)

    def context(**values):
        lines = {"ETH0_IP": "192.0.2.11", "VMID": "11", "ONEAPP_COPILOT_SERVICE_ROLE": "server"} | values
        (tmp_path / "context/context.sh").write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))

    made.context = context
    context()
    made.boot.note_applied()
    return made


def test_a_change_is_applied_once_and_a_boot_has_nothing_to_do(follower):
    follower.gate.found = {"13": BALANCER}
    assert follower.look()
    assert follower.look()
    assert follower.plays == [(("--tags", "gateway"), KNOWN)]
    assert follower.boot.others() == KNOWN
    assert follower.boot.is_applied()


def test_a_run_that_fails_leaves_what_was_known_and_is_tried_again_later(follower):
    follower.gate.found, follower.problem = {"13": BALANCER}, "no space left."
    assert not follower.look()
    assert follower.boot.others() == service.nobody("server")
    assert "no space left." in follower.said[-1]
    follower.problem = None
    assert follower.look()
    assert follower.boot.others() == KNOWN


def test_a_boot_that_failed_before_is_not_taken_for_applied(follower):
    follower.boot.applied.unlink()
    follower.gate.found = {"13": BALANCER}
    assert follower.look()
    assert not follower.boot.is_applied()


def test_what_is_known_stays_while_onegate_fails_and_that_is_told_once(follower):
    follower.gate.found = {"13": BALANCER}
    follower.look()
    follower.gate.error = "OneGate answers 401"
    before = list(follower.said)
    for _time in range(3):
        assert follower.look()
    assert follower.said == [*before, "The other VMs stay as they were: OneGate answers 401"]
    assert (follower.boot.others(), len(follower.plays)) == (KNOWN, 1)
    follower.gate.error = None
    follower.look()
    follower.gate.error = "OneGate answers 401"
    follower.look()
    assert len(follower.said) == len(before) + 2


def test_a_server_is_published_when_something_of_it_changed(follower):
    follower.look()
    follower.look()
    follower.state = {"slots": {"tiny": 1}, "busy": {"tiny": 1}, "queued": {"tiny": 2}}
    follower.look()
    assert [(one["READY"], one["COPILOT_QUEUE"], one["COPILOT_BUSY"]) for one in follower.gate.published] == [
        ("YES", "0", "0"),
        ("YES", "2", "100"),
    ]


def test_a_vm_whose_boot_failed_does_not_say_that_it_is_ready(follower):
    (follower.boot.places.one / "status").write_text("bootstrap_failure\n")
    follower.look()
    assert "READY" not in follower.gate.published[0]


def test_a_balancer_publishes_the_hashes_of_its_keys_for_those_that_are_there(follower):
    follower.context(ONEAPP_COPILOT_SERVICE_ROLE="balancer")
    follower.gate.found = {"12": {}, "15": {}}
    follower.look()
    (said,) = follower.gate.published
    assert said["COPILOT_KEYS"] == service.of_balancer({"12": KEY}, "")["COPILOT_KEYS"]
    assert "sk-" not in str(said)


@pytest.mark.parametrize("text", ["VMID='11'\n", "nothing of it"], ids=["no role", "broken"])
def test_a_context_that_says_nothing_of_it_changes_nothing(follower, text):
    follower.gate.found = {"13": BALANCER}
    (follower.boot.places.root / "context/context.sh").write_text(text)
    follower.look()
    assert (follower.plays, follower.gate.published) == ([], [])
    assert follower.said[0].startswith("The other VMs stay as they were: ")


def drained(monkeypatch, busy):
    """Drains a router with so many requests, look by look. Returns what is said, and the seconds that it took."""
    said, now, left = [], [0.0], list(busy)

    def ask(_method, _path, body):
        assert body == {"seconds": follow.DRAIN_SECONDS}
        if not left:
            raise NobodyThere("nobody")
        return 200, json.dumps({"busy": {"tiny": left.pop(0) if len(left) > 1 else left[0]}, "health": "ready"})

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(follow, "client", lambda *_arguments: ask)
    follow.drain(said.append, clock=lambda: now[0], sleep=sleep)
    return said, now[0]


def test_a_machine_goes_down_once_its_answers_have_ended(monkeypatch):
    assert drained(monkeypatch, [2, 1, 1, 0]) == ([], 1.5)


def test_a_machine_goes_down_in_the_end(monkeypatch):
    said, seconds = drained(monkeypatch, [1])
    assert said == ["1 requests are aborted: they took longer than 150 s."]
    assert 150 <= seconds < 152


def test_without_a_router_nothing_is_waited_for(monkeypatch):
    assert drained(monkeypatch, []) == ([], 0.0)
