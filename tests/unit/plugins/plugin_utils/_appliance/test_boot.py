# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an appliance does at a boot, with everything around it in a folder."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import boot, inventory, onegate, service

IMAGE = {"digest": "d", "model": "built-in", "catalogue": {"built-in": {"src": "/m/m.gguf", "sha256": "0" * 64, "tools": False}}}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A boot whose playbook and checks are ours to decide about."""
    places = boot.Places(tmp_path)
    places.appliance.mkdir(parents=True)
    (places.appliance / "image.json").write_text(json.dumps(IMAGE))
    for folder in ("etc/slm-copilot", "var/log", "context"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "etc/slm-copilot/report.json").write_text('{"endpoint": "https://192.0.2.7:8443/v1"}')
    made = boot.Boot(places, lambda _line: None)
    made.runs, made.problem, made.commands = [], None, []
    monkeypatch.setattr(made, "apply", lambda: made.runs.append(places.inventory.read_text()) or made.problem)
    monkeypatch.setattr(made, "wait_for_answer", lambda *_arguments: None)
    monkeypatch.setattr(boot.subprocess, "run", lambda command, **_more: made.commands.append(command))

    def start(**values: str) -> int:
        lines = [f"{name}='{value}'" for name, value in ({"ETH0_IP": "192.0.2.7"} | values).items()]
        (tmp_path / "context/context.sh").write_text("\n".join(lines) + "\n")
        return made.run()

    made.start = start
    return made


def said(machine, path="etc/motd"):
    return (machine.places.root / path).read_text()


def test_the_first_boot_applies_and_the_next_changes_nothing(machine):
    assert machine.start() == 0
    assert machine.start() == 0
    assert len(machine.runs) == 1
    assert said(machine, "etc/one-appliance/status") == "bootstrap_success\n"
    assert boot.READY in said(machine)


def test_what_an_administrator_wrote_beside_the_inventory_is_applied(machine):
    machine.start()
    (machine.places.state / "group_vars").mkdir()
    (machine.places.state / "group_vars/all.yml").write_text("copilot_users: [{name: alice}]\n")
    machine.start()
    assert len(machine.runs) == 2


@pytest.mark.parametrize(
    "values", [{"ONEAPP_COPILOT_CONTEXT_SIZE": "8192"}, {"ETH0_IP": "192.0.2.8"}], ids=["a setting", "the address"]
)
def test_a_change_is_applied(machine, values):
    machine.start()
    machine.start(**values)
    assert len(machine.runs) == 2


def test_another_image_is_applied(machine):
    machine.start()
    (machine.places.appliance / "image.json").write_text(json.dumps(IMAGE | {"digest": "e"}))
    machine.start()
    assert len(machine.runs) == 2


def test_a_wrong_value_changes_nothing_and_is_told(machine):
    machine.start()
    assert machine.start(ONEAPP_COPILOT_CONTEXT_SIZE="many") == 1
    assert len(machine.runs) == 1
    assert said(machine, "etc/one-appliance/status") == "configure_failure\n"
    assert "ONEAPP_COPILOT_CONTEXT_SIZE is 'many'" in said(machine)
    assert "ONEAPP_COPILOT_CONTEXT_SIZE is 'many'" in said(machine, "etc/one-appliance/problems")
    machine.start()
    assert len(machine.runs) == 1
    assert not (machine.places.one / "problems").exists()


def test_a_failed_run_is_no_success_and_is_tried_again(machine):
    machine.problem = "copilot_model is 'x', which no catalogue has."
    assert machine.start() == 1
    assert said(machine, "etc/one-appliance/status") == "bootstrap_failure\n"
    assert machine.problem in said(machine)
    machine.problem = None
    assert machine.start() == 0
    assert len(machine.runs) == 2


def test_after_a_failed_run_what_was_there_before_is_applied_again(machine):
    machine.start()
    machine.problem = "it failed half way"
    machine.start(ONEAPP_COPILOT_CONTEXT_SIZE="8192")
    machine.problem = None
    machine.start()
    assert len(machine.runs) == 3


def test_a_balancer_gets_its_backends_and_their_ca(machine):
    machine.start(ONEAPP_COPILOT_LB_BACKENDS=f"{'k' * 32}@10.0.0.1:8443", ONEAPP_COPILOT_LB_CA="-----BEGIN CERTIFICATE-----")
    assert "copilot_balancers:" in machine.runs[0]
    assert machine.places.backends_ca.read_text() == "-----BEGIN CERTIFICATE-----\n"
    assert f'"copilot_extra_backends_ca": "{machine.places.backends_ca}"' in machine.runs[0]


def test_a_role_in_a_service_is_followed_until_it_is_another(machine):
    machine.start(ONEAPP_COPILOT_SERVICE_ROLE="balancer")
    assert "copilot_balancers:" in machine.runs[0]
    assert machine.others() == service.nobody("balancer")
    machine.places.others.write_text(known := inventory.of_servers({"vm-7": {"ansible_host": "192.0.2.8"}}))
    machine.note_applied()
    machine.start(ONEAPP_COPILOT_SERVICE_ROLE="balancer")
    assert (machine.others(), len(machine.runs)) == (known, 1)
    machine.start(ONEAPP_COPILOT_SERVICE_ROLE="server")
    assert (machine.others(), len(machine.runs)) == (service.nobody("server"), 2)
    machine.start()
    assert (machine.others(), len(machine.runs)) == ("", 3)
    assert [command[2] for command in machine.commands] == ["restart", "restart", "restart", "stop"]


def test_another_ca_of_the_backends_is_applied(machine):
    backends = {"ONEAPP_COPILOT_LB_BACKENDS": f"{'k' * 32}@10.0.0.1:8443"}
    for text in ("AAAA", "AAAA", "BBBB"):
        machine.start(**backends, ONEAPP_COPILOT_LB_CA=f"-----BEGIN CERTIFICATE-----{text}")
    assert len(machine.runs) == 2


def loaded(tmp_path, text):
    (tmp_path / "hosts.yml").write_text(text)
    return DataLoader().load_from_file(str(tmp_path / "hosts.yml"), trusted_as_template=True)


def test_what_a_context_says_is_never_a_template(tmp_path):
    key = "{{lookup('pipe','reboot')}}$(reboot)'\"\\"
    variables = {"copilot_api_key": key, "copilot_threads": 4, "copilot_extra_backends": [key], "copilot_zone": "{{ 7 * 7 }}"}
    found = loaded(tmp_path, inventory.of_this_vm(variables, IMAGE, "192.0.2.7", balancer=True))["all"]["hosts"]["copilot"]
    templar = Templar(DataLoader(), variables=found)
    assert templar.template(found["copilot_api_key"]) == key
    assert templar.template(found["copilot_zone"]) == "{{ 7 * 7 }}"
    assert templar.template(found["copilot_extra_backends"]) == [key]
    assert found["copilot_threads"] == 4
    assert found["copilot_catalogue"]["built-in"]["tools"] is False


@pytest.mark.parametrize("text", ["01234567890123456", "1e100", "true", "null", "2026-11-28", "12:34:56", ""])
def test_a_text_stays_a_text(tmp_path, text):
    found = loaded(tmp_path, inventory.of_this_vm({"copilot_api_key": text}, IMAGE, "192.0.2.7", balancer=False))
    assert found["all"]["hosts"]["copilot"]["copilot_api_key"] == text
    found = loaded(tmp_path, inventory.of_balancers([{"address": "192.0.2.13", "key_sha256": text}]))
    assert found["all"]["hosts"]["copilot"]["copilot_extra_balancers"][0]["key_sha256"] == text


def test_addresses_of_a_context_become_networkds():
    files = boot.networks(
        {
            "ETH0_MAC": "02:00:C0:00:02:07",
            "ETH0_IP": "192.0.2.7",
            "ETH0_MASK": "255.255.255.128",
            "ETH0_GATEWAY": "192.0.2.1",
            "ETH0_DNS": "192.0.2.2 192.0.2.3",
            "ETH0_IP6": "2001:db8::7",
            "ETH1_MAC": "02:00:c0:00:02:08",
        }
    )
    assert files["10-slm-copilot-eth0.network"].splitlines() == [
        "[Match]",
        "MACAddress=02:00:c0:00:02:07",
        "",
        "[Network]",
        "Address=192.0.2.7/25",
        "Address=2001:db8::7/64",
        "Gateway=192.0.2.1",
        "DNS=192.0.2.2",
        "DNS=192.0.2.3",
    ]
    assert "DHCP=yes" in files["10-slm-copilot-eth1.network"]


@pytest.mark.parametrize(
    "values",
    [{"ETH0_MAC": "02:00:c0:00:02:07", "ETH0_IP": "192.0.2.7\nDNS=x"}, {"ETH0_MAC": "x]\n[Link"}],
    ids=["address", "mac"],
)
def test_an_address_that_is_none_gets_into_no_file(values):
    with pytest.raises(CopilotError, match="ETH0_"):
        boot.networks(values)


def test_keys_and_name_of_the_context(machine):
    root = machine.places.root
    (root / "root").mkdir()
    boot.prepare_system({"SSH_PUBLIC_KEY": "ssh-ed25519 AAAA a\njunk\nssh-rsa BBBB b", "SET_HOSTNAME": "vm-7"}, machine.places)
    assert (root / "root/.ssh/authorized_keys").read_text() == "ssh-ed25519 AAAA a\nssh-rsa BBBB b\n"
    assert (root / "etc/hostname").read_text() == "vm-7\n"


def test_onegate_hears_what_the_official_clients_would_say(machine, monkeypatch):
    asked = []
    monkeypatch.setattr(onegate, "open_url", lambda url, **more: asked.append((url, more)) or io.BytesIO())
    (machine.places.root / "context/token.txt").write_text("dG9rZW4=\n")
    machine.start(REPORT_READY="YES", ONEGATE_ENDPOINT="http://192.0.2.1:5030", VMID="7", ONEAPP_COPILOT_ZONE="madrid")
    ((url, more),) = asked
    assert (more["method"], url) == ("PUT", "http://192.0.2.1:5030/vm")
    assert more["headers"] == {"X-ONEGATE-TOKEN": "dG9rZW4=", "X-ONEGATE-VMID": "7"}
    assert more["data"] == (
        "data=READY%3DYES%5CnCOPILOT_URL%3Dhttps%3A%2F%2F192.0.2.7%3A8443%2Fv1%5CnCOPILOT_ZONE%3Dmadrid&type=1"
    )


def test_the_reason_of_a_failed_run_is_found():
    line = 'fatal: [copilot]: FAILED! => {"changed": false, "msg": "copilot_model is \\"x\\",\\nwhich no catalogue has."}'
    rescued = 'fatal: [copilot]: FAILED! => {"changed": false, "msg": "rescued"}'
    assert boot.failure_in(f"TASK [a]\n{rescued}\n\nTASK [b]\n{line}\n") == 'copilot_model is "x",\nwhich no catalogue has.'
    assert boot.failure_in('failed: [copilot] (item=x) => {"changed": false, "msg": "of a loop"}\n') == "of a loop"
    assert boot.failure_in("nothing of it") is None


def test_the_inventory_is_yaml(machine):
    machine.start()
    yaml.SafeLoader.add_constructor("!unsafe", lambda loader, node: loader.construct_mapping(node, deep=True))
    assert yaml.safe_load(machine.runs[0])["all"]["hosts"]["copilot"]["copilot_model"] == "built-in"
