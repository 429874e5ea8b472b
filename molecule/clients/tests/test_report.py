# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says of itself: to machines, to people, at login, and all hosts in one table."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import textwrap
from collections.abc import Callable
from datetime import timedelta

import jsonschema
import pytest
import yaml
from conftest import Operator
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from people import FLEET, PROJECT
from testinfra.host import Host

SCHEMA = json.loads((PROJECT / "docs/report.schema.json").read_text())
HOSTS = ("clients-one", "clients-mtls")


@pytest.mark.parametrize("name", HOSTS)
def test_the_report_for_machines_is_as_its_schema_says(hosts: Callable[[str], Host], name: str) -> None:
    report = json.loads(hosts(name).check_output("cat /etc/slm-copilot/report.json"))
    jsonschema.validate(report, SCHEMA)
    assert report["mode"] == "standalone" and report["users"] == ["alice", "bob"]
    certificate = x509.load_pem_x509_certificate(hosts(name).check_output("cat /etc/slm-copilot/server.pem").encode())
    assert report["certificate"]["not_after"] == certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=825), (
        "or Apple's systems refuse it"
    )
    strictly = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        FLEET / "ca/ca.pem",
    ]  # as Python 3.13 does
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    verified = subprocess.run(strictly, input=pem, capture_output=True, check=False)
    assert verified.returncode == 0, verified.stderr
    assert "slm-copilot-gateway.service" in report["units"]


def test_the_report_for_people_is_ini_with_settings_to_paste(hosts: Callable[[str], Host]) -> None:
    text = hosts("clients-one").check_output("cat /etc/one-appliance/config")
    ini = configparser.RawConfigParser(comment_prefixes=(";",))
    ini.optionxform = str  # names of files, which it would write small
    ini.read_string(text)
    key = ini["Connection"]["api_key"]
    assert ini["Connection"]["endpoint"] == "https://10.89.83.11:8443/v1"
    # What is pasted is the text as it stands; configparser drops how far a line is indented.
    settings = {
        name: textwrap.dedent(lines) for name, lines in re.findall(r"^(\S+/\S+) =\n((?:(?: {4}.*)?\n)+)", text, re.MULTILINE)
    }
    assert list(settings) == list(ini["Clients"])
    assert yaml.safe_load(settings["continue/config.yaml"])["models"][0]["apiKey"] == key
    assert json.loads(settings["opencode/opencode.json"])["model"] == "slm-copilot/devstral-small-2"
    assert "journalctl -u slm-copilot" in ini["Files"]["log"]
    assert len(ini["Troubleshooting"]) >= 8


@pytest.mark.parametrize("name", HOSTS)
def test_the_greeting_has_no_key(hosts: Callable[[str], Host], name: str) -> None:
    greeting = hosts(name).check_output("cat /etc/motd.d/slm-copilot")
    for fact in ("https://10.89.83.1", "standalone", "devstral-small-2", "32768", "journalctl -u slm-copilot", "until 2"):
        assert fact in greeting
    assert "sk-" not in greeting
    assert hosts(name).file("/etc/motd.d/slm-copilot").mode == 0o644


def test_the_fleet_is_one_table(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/report.yml", groups={"copilot_servers": [*HOSTS, "clients-hub"]})
    assert run.status == 0, run.output[-3000:]
    table = run.output.split("PLAY RECAP")[0]
    lines = [line.strip().strip('",') for line in table.splitlines()]
    rows = {line.split()[0]: line for line in lines if line.startswith(("host ", "clients-")) and "  " in line}
    assert "certificate until" in rows["host"]
    for name in HOSTS:
        assert "standalone" in rows[name] and "8 x 32768" in rows[name] and "active" in rows[name]
    assert "has not made a report here yet" in rows["clients-hub"]
