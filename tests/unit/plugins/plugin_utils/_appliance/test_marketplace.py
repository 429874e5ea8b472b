# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files for OpenNebula are in the form that it reads, and ask for what the appliance understands."""

from __future__ import annotations

import re

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import marketplace, service, settings

ABOUT = {
    "codename": "trixie",
    "virtual_size": 1 << 34,
    "sha256": "a" * 64,
    "md5": "b" * 32,
    "version": "0.1.0",
    "digest": "c" * 64,
    "created": 1700000000,
}
STATE = {"slots": {}, "busy": {}, "queued": {}}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
INPUT = re.compile(r"[MO]\|(text|text64|password|number|list|network)\|[^|,]*\|[^|]*\|[^|]*")


def test_each_input_has_opennebulas_form_and_is_understood():
    inputs = marketplace.user_inputs()
    assert all(INPUT.fullmatch(one) for one in inputs.values()), inputs
    defaults = {name: one.split("|")[4] for name, one in inputs.items()}
    assert settings.variables(defaults)[1] == []


def test_the_vm_hands_every_variable_on_and_asks_for_those_of_people():
    template = marketplace.vm_template()
    names = {name for name in template["CONTEXT"] if name.startswith(settings.PREFIX)}
    assert names == {settings.PREFIX + name for name in settings.INPUTS}
    assert names - template["USER_INPUTS"].keys() == {"ONEAPP_COPILOT_SERVICE_ROLE"}
    assert template["INPUTS_ORDER"].split(",") == list(template["USER_INPUTS"])
    assert template["CPU_MODEL"] == {"MODEL": "host-passthrough"}


def test_a_template_is_text_that_onetemplate_reads():
    text = marketplace.template_text({"CPU": "16", "CONTEXT": {"A": 'say "x" \\ y', "B": "2"}})
    assert text == 'CPU = "16"\nCONTEXT = [\n  A = "say \\"x\\" \\\\ y",\n  B = "2" ]\n'


def test_the_balancer_of_a_service_waits_for_its_server_and_servers_have_no_key():
    server, balancer = marketplace.service_template()["roles"]
    assert balancer["parents"] == [server["name"]]
    assert marketplace.service_template()["ready_status_gate"] is True
    for role in (server, balancer):
        assert f'ONEAPP_COPILOT_SERVICE_ROLE = "{role["name"]}"' in role["vm_template_contents"]
    assert "PASSWORD" not in server["vm_template_contents"]
    assert 'ONEAPP_COPILOT_API_PASSWORD = "$ONEAPP_COPILOT_API_PASSWORD"' in balancer["vm_template_contents"]


# What OneFlow's schema and the grammar of its expressions take
POLICY = {"type": str, "adjust": int, "expression": str, "period": int, "period_number": int, "cooldown": int}
CONDITION = re.compile(r"[A-Z_]+ [<>] [0-9]+")


def test_oneflow_takes_the_policies_and_servers_publish_what_they_ask_for():
    published = service.of_server({"endpoint": "https://a:8443/v1", "models": []}, CERTIFICATE, "", STATE)
    for role in marketplace.service_template()["roles"]:
        assert role["min_vms"] <= role["cardinality"] <= role["max_vms"]
        for policy in role.get("elasticity_policies", []):
            assert {name: type(value) for name, value in policy.items()} == POLICY
            assert policy["type"] in ("CHANGE", "CARDINALITY", "PERCENTAGE_CHANGE")
            assert CONDITION.fullmatch(policy["expression"])
            assert policy["expression"].split()[0] in published


@pytest.mark.parametrize(
    "field",
    ["name", "version", "publisher", "short_description", "tags", "creation_time", "opennebula_template", "images"],
)
def test_entries_have_what_a_marketplace_wants(field):
    made = marketplace.entries(ABOUT, "https://example.com/i.qcow2")
    assert len(made) == 2
    assert all(field in entry for entry in made.values())


def test_the_entry_of_the_image_names_its_size_as_a_disk():
    made = marketplace.entries(ABOUT, "https://example.com/i.qcow2")
    (image,) = made[f"{marketplace.identity('image')}.yaml"]["images"]
    assert (image["size"], image["checksum"]) == (1 << 34, {"md5": "b" * 32, "sha256": "a" * 64})


def test_files_are_named_after_who_reads_them():
    made = marketplace.files(ABOUT, "/srv", "https://example.com/i.qcow2")
    assert {"/srv/template.txt", "/srv/service.json"} < {one["path"] for one in made}
    assert all(one["content"] for one in made)
