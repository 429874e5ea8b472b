# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual machine boots into a copilot, applies what its context says, and tells OpenNebula and people how it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import contexts
import pytest
from conftest import PROJECT, told_to_onegate
from developers import eventually


def test_the_first_boot_ends_with_an_answer(first, tmp_path):
    assert first.status() == "bootstrap_success", first.read("/etc/motd") + first.read("/var/log/one-appliance/slm-copilot.log")
    assert first.config("api_key") == contexts.KEY  # no shell and no template has seen it
    assert first.developer(tmp_path).chat().status == 200
    assert "All set and ready to serve" in first.read("/etc/motd")
    for unit in ("slm-copilot", "slm-copilot-router", "slm-copilot-gateway"):
        assert first.run(f"systemctl is-active {unit}") == "active"


def test_variables_of_the_context_are_ours(first):
    report = json.loads(first.read("/etc/slm-copilot/report.json"))
    assert report["context_size"] == 1024
    assert report["endpoint"] == "https://10.89.88.11:8443/v1"


def test_nothing_was_asked_of_a_network(first):
    """Engine, packages, wheels and model come from the image: the container has no names and no proxy."""
    log = first.read("/var/log/one-appliance/slm-copilot.log")
    assert "failed=0" in log
    assert first.run("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true").count("slm-copilot") == 0


def test_onegate_is_told_once_a_real_answer_has_come(first, vms):
    eventually(lambda: told_to_onegate("11"), "the first VM is ready", seconds=60)
    assert told_to_onegate("11") == {"READY": "YES", "COPILOT_URL": "https://10.89.88.11:8443/v1", "COPILOT_ZONE": "madrid"}


def test_it_passes_all_checks_from_outside(first, tmp_path):
    """As somebody makes them who has a checkout. No shell and no template sees the key."""
    ca = tmp_path / "ca.pem"
    ca.write_text(first.read("/etc/slm-copilot/ca.pem"))
    made = subprocess.run(
        ["make", "--no-print-directory", "test", "ENDPOINT=https://10.89.88.11:8443", f"CA={ca}"],
        check=False,
        cwd=PROJECT,
        env=os.environ | {"PASSWORD": first.config("api_key")},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout
    assert made.stdout.count("ok") >= 7
    assert first.config("api_key") not in made.stdout + made.stderr


def test_without_any_context_it_serves_with_defaults(plain, tmp_path):
    assert plain.status() == "bootstrap_success", plain.read("/etc/motd")
    assert len(plain.config("api_key")) >= 32
    assert plain.developer(tmp_path).chat().status == 200


def test_two_machines_of_one_image_share_nothing(first, plain):
    for command in (
        "cat /etc/slm-copilot/ca.pem",
        "cat /etc/slm-copilot/server-key.pem",
        "cat /etc/ssh/ssh_host_ed25519_key",
        "cat /etc/machine-id",
        "sed -n 's/^api_key *= //p' /etc/one-appliance/config",
        "cat /etc/slm-copilot/appliance/.slm-copilot/fleet*",
    ):
        assert first.run(command) != plain.run(command), command


def test_an_unchanged_boot_costs_next_to_nothing(first):
    runs = first.read("/var/log/one-appliance/slm-copilot.log").count("PLAY RECAP")
    began = time.monotonic()
    assert first.apply() == 0
    assert first.read("/var/log/one-appliance/slm-copilot.log").count("PLAY RECAP") == runs
    print(f"a boot without changes: {time.monotonic() - began:.1f} s")


def test_a_reboot_changes_nothing(plain, tmp_path):
    runs = plain.read("/var/log/one-appliance/slm-copilot.log").count("PLAY RECAP")
    key = plain.config("api_key")
    plain.run("rm /etc/one-appliance/status")
    subprocess.run(["podman", "restart", "opennebula-plain"], check=True, stdout=subprocess.PIPE)
    plain.wait("bootstrap_success", "bootstrap_failure", "configure_failure")
    assert plain.status() == "bootstrap_success"
    assert plain.config("api_key") == key
    assert plain.developer(tmp_path).chat().status == 200
    assert plain.read("/var/log/one-appliance/slm-copilot.log").count("PLAY RECAP") == runs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ONEAPP_COPILOT_CONTEXT_SIZE": "lots"}, "ONEAPP_COPILOT_CONTEXT_SIZE is 'lots'"),
        ({"ONEAPP_COPILOT_COLOUR": "blue"}, "ONEAPP_COPILOT_COLOUR is not known"),
    ],
    ids=["a wrong number", "an unknown name"],
)
def test_a_wrong_value_is_told_and_the_service_goes_on(first, tmp_path, changes, words):
    began = first.run("systemctl show --property=ActiveEnterTimestamp slm-copilot slm-copilot-gateway")
    first.set(**changes)
    assert first.apply() != 0
    assert first.status() in ("configure_failure", "bootstrap_failure")
    assert words in first.read("/etc/motd")
    assert words in first.read("/etc/one-appliance/problems")
    assert first.run("systemctl show --property=ActiveEnterTimestamp slm-copilot slm-copilot-gateway") == began
    assert first.developer(tmp_path).chat().status == 200
    first.set()
    assert first.apply() == 0
    assert first.status() == "bootstrap_success"


def test_what_the_playbook_refuses_is_told_and_the_service_goes_on(first, tmp_path):
    first.set(ONEAPP_COPILOT_AI_MODEL="no-such-model")
    assert first.apply() != 0
    assert first.status() == "bootstrap_failure"
    assert "is 'no-such-model', which no catalogue has" in first.read("/etc/motd")
    assert first.developer(tmp_path).chat().status == 200


def test_a_changed_password_and_context_are_applied(first, tmp_path):
    old = first.developer(tmp_path)
    first.set(ONEAPP_COPILOT_API_PASSWORD="sk-another-password-that-is-long-enough", ONEAPP_COPILOT_CONTEXT_SIZE="2048")
    assert first.apply() == 0
    assert first.developer(tmp_path).chat().status == 200
    assert old.chat().status == 401
    assert json.loads(first.read("/etc/slm-copilot/report.json"))["context_size"] == 2048


def test_a_balancer_serves_by_the_first_machine(first, vms, tmp_path):
    balancer = vms["balancer"]
    balancer.wait("bootstrap_success", "bootstrap_failure", "configure_failure")
    key = first.config("api_key")
    balancer.set(ONEAPP_COPILOT_LB_BACKENDS=f"{key}@10.89.88.11:8443", ONEAPP_COPILOT_LB_CA=first.read("/etc/slm-copilot/ca.pem"))
    assert balancer.apply() == 0, balancer.read("/etc/motd")
    developer = balancer.developer(tmp_path)
    assert developer.chat().status == 200
    balancer.run("systemctl stop slm-copilot")  # its own engine: what answers now is the other machine's
    eventually(lambda: developer.chat().status == 200, "the backend answers")


def test_no_secret_is_in_the_image(first):
    """Of what a boot makes, nothing is in the archive that all machines start from."""
    names = set((PROJECT / ".cache/molecule/opennebula/files").read_text().splitlines())
    assert not [name for name in names if re.search(r"ssh_host_|\.slm-copilot|-key\.pem$|api-keys|/etc/slm-copilot/", name)]
