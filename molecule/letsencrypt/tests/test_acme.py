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
    renewal_cuts_no_stream,
    started,
    stream_while_renewing,
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


def test_a_domain_that_leads_nowhere_falls_back_and_is_told(native: Site) -> None:
    assert ("DNS", native.domain) in native.shown(FLEET)["subjectAltName"]
    assert native.client(FLEET).chat().status == 200
    [warning] = native.report()["warnings"]
    assert warning.startswith(f"{ACME_ERROR} for later.example.com: ")
    assert "could not resolve" in warning
    for path in ("/etc/one-appliance/config", "/etc/motd.d/slm-copilot"):
        assert warning in native.host.file(path).content_string


def test_where_a_certificate_is_a_must_the_run_fails(operator: Operator, native: Site) -> None:
    operator.limit = "le-native"
    before = native.serial(FLEET)
    run = operator.run("--tags", "tls", tls_acme_required=True)
    assert run.status != 0
    assert ACME_ERROR in told(run)
    assert run.changed("le-native") == 0, "nor does a run without it, again and again"
    assert native.serial(FLEET) == before


def test_a_later_run_gets_it(operator: Operator, native: Site, acme: Host) -> None:
    body = json.dumps({"host": native.domain, "addresses": [native.address]})
    program = "import sys, urllib.request as r; r.urlopen('http://127.0.0.1:8055/add-a', sys.argv[1].encode())"
    acme.check_output("python3 -c %s %s", program, body)
    operator.limit = "le-native"
    run = operator.run("--tags", "tls,server,report")
    assert run.status == 0, run.output[-3000:]
    assert native.client().chat().status == 200, "llama-server itself shows it"
    assert native.report()["warnings"] == []


def test_a_second_run_changes_nothing(operator: Operator) -> None:
    run = operator.run()
    assert run.status == 0, run.output[-3000:]
    assert (run.changed("le-gateway"), run.changed("le-native")) == (0, 0)


def test_a_renewal_cuts_no_stream(gateway: Site) -> None:
    renewal_cuts_no_stream(gateway)


def test_llama_server_restarts_for_a_renewal_once_it_is_idle(operator: Operator, native: Site) -> None:
    before, unit = native.serial(), "slm-copilot.service"
    serving = started(native, unit)
    pieces = stream_while_renewing(native)
    assert native.host.run("systemctl is-active slm-copilot-restart-when-idle").rc == 0
    assert started(native, unit) == serving
    *_more, seen = pieces
    assert seen.finished and not seen.error, "the answer ends whole"

    def renewed() -> bool:
        try:
            return native.serial() != before
        except OSError:
            return False  # while it restarts

    eventually(renewed, "the new certificate is shown")
    eventually(lambda: native.client().chat().status == 200, "the model is loaded")
    eventually(lambda: started(native, unit) != serving, "systemd has seen that it serves")
    restarted = started(native, unit)
    operator.limit = "le-native"
    run = operator.run("--tags", "tls,server")
    assert run.status == 0, run.output[-3000:]
    assert started(native, unit) == restarted, "a run does not restart it once more"


def test_the_wait_for_idleness_has_an_end(native: Site) -> None:
    settings = json.loads(native.host.check_output("cat /etc/slm-copilot/acme.json"))
    settings["restart"]["wait"] = 0
    native.host.check_output("printf %%s %s > /root/acme.json", json.dumps(settings))
    serving = started(native, "slm-copilot.service")
    pieces = native.client().streaming(max_tokens=7000, ignore_eos=True)
    next(pieces)
    said = native.host.check_output("python3 -I /opt/slm-copilot/acme.py --config /root/acme.json restart-when-idle")
    assert "although it is busy" in said
    assert started(native, "slm-copilot.service") != serving
    pieces.close()
    eventually(lambda: native.client().chat().status == 200, "the model is loaded")


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


@pytest.mark.parametrize("name", ["gateway", "native"])
def test_tls_has_no_weakness(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    site: Site = request.getfixturevalue(name)
    found = weaknesses(scan(f"{site.address}:8443", tmp_path, f"--sni={site.domain}"))
    assert found == []
