# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of a real ACME server: issued, renewed, and missing. Tests run in order.

What needs no host is in tests/contract/test_acme.py.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

import pytest
from conftest import (
    ACME_ERROR,
    COMPANY,
    FLEET,
    Site,
    due,
    renewal_cuts_no_stream,
    told,
)
from developers import eventually
from people import Operator
from testinfra.host import Host
from tls_scan import scan, weaknesses


def test_a_certificate_is_issued_and_served_with_its_chain(gateway: Site) -> None:
    certificate = gateway.shown(COMPANY)
    assert certificate["subjectAltName"] == (("DNS", gateway.domain),)
    with pytest.raises(ssl.SSLCertVerificationError):
        gateway.shown(FLEET)
    assert gateway.host.service("slm-copilot-proxy").is_running
    answer = gateway.client().chat()
    assert answer.status == 200, "LiteLLM is behind it"
    report = gateway.report()
    assert (report["mode"], report["endpoint"]) == ("balancer", f"https://{gateway.domain}:8443/v1")
    assert report["warnings"] == []


def test_by_another_name_there_is_the_fleets_certificate(gateway: Site) -> None:
    """So that balancers, which connect by address, need not know of the domain."""
    assert ("IP Address", gateway.address) in gateway.shown(FLEET, name=gateway.address)["subjectAltName"]


def test_a_domain_that_leads_nowhere_falls_back_and_is_told(late: Site) -> None:
    assert ("DNS", late.domain) in late.shown(FLEET)["subjectAltName"]
    assert late.client(FLEET).chat().status == 200
    [warning] = late.report()["warnings"]
    assert warning.startswith(f"{ACME_ERROR} for later.example.com: ")
    assert "could not resolve" in warning
    for path in ("/etc/one-appliance/config", "/etc/motd.d/slm-copilot"):
        assert warning in late.host.file(path).content_string


def test_where_a_certificate_is_a_must_the_run_fails(operator: Operator, late: Site) -> None:
    operator.limit = "le-late"
    before = late.serial(FLEET)
    run = operator.run("--tags", "tls", tls_acme_required=True)
    assert run.status != 0
    assert ACME_ERROR in told(run)
    assert run.changed("le-late") == 0, "nor does a run without it, again and again"
    assert late.serial(FLEET) == before


def test_a_later_run_gets_it(operator: Operator, late: Site, acme: Host) -> None:
    body = json.dumps({"host": late.domain, "addresses": [late.address]})
    program = "import sys, urllib.request as r; r.urlopen('http://127.0.0.1:8055/add-a', sys.argv[1].encode())"
    acme.check_output("python3 -c %s %s", program, body)
    operator.limit = "le-late"
    run = operator.run("--tags", "tls,server,report")
    assert run.status == 0, run.output[-3000:]
    assert late.client().chat().status == 200
    assert late.report()["warnings"] == []


def test_a_second_run_changes_nothing(operator: Operator) -> None:
    run = operator.run()
    assert run.status == 0, run.output[-3000:]
    assert (run.changed("le-gateway"), run.changed("le-late")) == (0, 0)


def test_a_renewal_cuts_no_stream(gateway: Site) -> None:
    renewal_cuts_no_stream(gateway)


def test_a_renewal_while_the_gateway_starts_is_served(gateway: Site) -> None:
    """HAProxy has read the certificate before, and its start goes on while the next one comes."""
    host, before = gateway.host, gateway.serial()
    slow = "/run/systemd/system/slm-copilot-gateway.service.d"
    host.check_output(f"mkdir -p {slow} && printf '[Service]\\nExecStartPost=/usr/bin/sleep 30\\n' >{slow}/slow.conf")
    try:
        host.check_output("systemctl daemon-reload && systemctl restart --no-block slm-copilot-gateway")
        sub_state = "systemctl show --property=SubState --value slm-copilot-gateway"
        eventually(lambda: host.check_output(sub_state) == "start-post", "HAProxy runs, and counts as starting")
        due(gateway)
        host.check_output("systemctl start certbot.service")
        eventually(lambda: gateway.serial() != before, "the new certificate is shown")
    finally:
        host.check_output(f"rm -r {slow} && systemctl daemon-reload")


def test_the_timer_renews(gateway: Site) -> None:
    assert gateway.host.run("systemctl is-enabled certbot.timer && systemctl is-active certbot.timer").rc == 0


def test_port_80_is_for_the_acme_server(gateway: Site) -> None:
    for path, status in (("/", 404), ("/v1/models", 404), ("/.well-known/acme-challenge/none", 503)):
        connection = http.client.HTTPConnection(gateway.address, 80, timeout=10)
        connection.request("GET", path)
        assert connection.getresponse().status == status, path


def test_the_account_key_is_roots_alone(gateway: Site) -> None:
    secret = (COMPANY.parent / "eab").read_text()
    file = gateway.host.file("/etc/slm-copilot/acme.ini")
    assert (file.mode, file.user) == (0o600, "root")
    found = gateway.host.run(f"grep --recursive --files-with-matches {secret} /etc /var/log /opt /run").stdout.split()
    assert found == ["/etc/slm-copilot/acme.ini"]


def test_tls_has_no_weakness(gateway: Site, tmp_path: Path) -> None:
    found = weaknesses(scan(f"{gateway.address}:8443", tmp_path, f"--sni={gateway.domain}"))
    assert found == []
