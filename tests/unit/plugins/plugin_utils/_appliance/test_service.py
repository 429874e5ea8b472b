# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VMs of a service become each other's servers and balancers by what they publish, and no secret is in it."""

from __future__ import annotations

import datetime
import hashlib
import re

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import service
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

REPORT = {
    "endpoint": "https://192.0.2.11:8443/v1",
    "models": [{"name": "tiny", "context_size": 1024, "slots": 2}, {"name": "Big-1.5", "context_size": 8192, "slots": 1}],
}
STATE = {"slots": {"tiny": 2, "Big-1.5": 1}, "busy": {"tiny": 1}, "queued": {"tiny": 3, "Big-1.5": 1}}
KEY = "sk-of-the-balancer-for-the-server"
SHA256 = hashlib.sha256(KEY.encode()).hexdigest()

yaml.SafeLoader.add_constructor("!unsafe", lambda loader, node: loader.construct_mapping(node, deep=True))


def certificate() -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


PEM = certificate()


@pytest.fixture
def server():
    return service.of_server(REPORT, PEM, "192.0.2.11", STATE) | {"READY": "YES", "COPILOT_ZONE": "madrid"}


def servers_of(others):
    said = []
    found = yaml.safe_load(service.for_balancer(others, said.append))
    return found["copilot_servers"]["hosts"], said


def balancers_of(others, vm="11"):
    said = []
    found = yaml.safe_load(service.for_server(others, vm, said.append))
    return found["all"]["hosts"]["copilot"]["copilot_extra_balancers"], said


def test_a_balancer_knows_a_server_as_its_inventory_would(server):
    assert servers_of({"11": server}) == (
        {
            "vm-11": {
                "ansible_host": "192.0.2.11",
                "copilot_port": 8443,
                "copilot_zone": "madrid",
                "copilot_models": [
                    {"id": "tiny", "context_size": 1024, "slots": 2},
                    {"id": "Big-1.5", "context_size": 8192, "slots": 1},
                ],
                "copilot_server_ca": PEM,
            }
        },
        [],
    )


def test_a_server_says_how_much_waits_and_how_busy_it_is(server):
    assert (server["COPILOT_QUEUE"], server["COPILOT_BUSY"]) == ("4", "33")


def test_onegate_keeps_all_values_as_they_are(server):
    for value in (*server.values(), *service.of_balancer({"11": KEY, "12": KEY}, "2001:db8::5").values()):
        assert re.fullmatch(r"[A-Za-z0-9._:/-]+", value)


@pytest.mark.parametrize("change", [{"READY": "NO"}, {"READY": ""}, {"COPILOT_ROLE": "balancer"}, {"COPILOT_ROLE": ""}])
def test_who_is_no_server_or_not_ready_is_none(server, change):
    assert servers_of({"11": server | change}) == ({}, [])


@pytest.mark.parametrize(
    "change",
    [
        {"COPILOT_ADDRESS": "evil.example.com"},
        {"COPILOT_ADDRESS": "{{ lookup('pipe', 'reboot') }}"},
        {"COPILOT_PORT": "0"},
        {"COPILOT_PORT": "x"},
        {"COPILOT_MODELS": "tiny"},
        {"COPILOT_MODELS": "../tiny:1024:1"},
        {"COPILOT_MODELS": "tiny:1024:0"},
        {"COPILOT_ZONE": "a b"},
        {"COPILOT_CA": "AAAA"},
        {"COPILOT_CA": "€"},
    ],
)
def test_a_server_that_publishes_something_else_is_not_used_and_the_others_are(server, change):
    found, said = servers_of({"11": server, "12": server | change})
    assert list(found) == ["vm-11"]
    assert len(said) == 1
    assert said[0].startswith("The VM 12 is not used")


def test_what_a_vm_does_not_publish_is_missed(server):
    del server["COPILOT_CA"]
    assert servers_of({"12": server}) == ({}, ["The VM 12 is not used, since it publishes no server: KeyError: 'COPILOT_CA'"])


def test_a_server_lets_in_the_balancer_that_has_a_key_for_it():
    balancer = service.of_balancer({"11": KEY}, "192.0.2.13")
    assert balancers_of({"13": balancer}) == ([{"address": "192.0.2.13", "key_sha256": SHA256}], [])
    assert balancers_of({"13": balancer}, vm="12") == ([], [])
    assert "sk-" not in str(balancer)


@pytest.mark.parametrize("change", [{"COPILOT_KEYS": f"11:{KEY}"}, {"COPILOT_KEYS": "11"}, {"COPILOT_ADDRESS": "x"}])
def test_a_balancer_that_publishes_something_else_is_not_let_in(change):
    balancer = service.of_balancer({"11": KEY}, "192.0.2.13")
    found, said = balancers_of({"13": balancer | change, "14": balancer})
    assert found == [{"address": "192.0.2.13", "key_sha256": SHA256}]
    assert len(said) == 1
    assert KEY not in said[0]


def test_a_server_is_no_balancer_by_what_it_publishes(server):
    assert balancers_of({"12": server | {"COPILOT_KEYS": f"11:{SHA256}"}}) == ([], [])
