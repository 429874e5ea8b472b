# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACME server is gone, or not wanted any longer. Tests run in order, after all others."""

from __future__ import annotations

from conftest import ACME_ERROR, FLEET, RENEWAL, Site, due, told
from people import Operator
from testinfra.host import Host


def test_without_the_acme_server_a_valid_certificate_is_kept(operator: Operator, gateway: Site, acme: Host) -> None:
    acme.check_output("systemctl stop pebble")  # for good: it forgets its CA
    before = gateway.serial()
    due(gateway)
    assert gateway.host.run("systemctl start certbot.service").rc != 0
    assert gateway.serial() == before
    operator.limit = "le-gateway"
    run = operator.run("--tags", "tls", tls_acme_extra_domains=["also.example.com"])
    assert run.status == 0, run.output[-3000:]
    assert ACME_ERROR in told(run)
    assert "Connection refused" in told(run)
    assert gateway.client().chat().status == 200


def test_back_to_the_fleets_ca(operator: Operator, late: Site) -> None:
    operator.limit = "le-late"
    run = operator.run("--tags", "tls,server", copilot_tls_domain="")
    assert run.status == 0, run.output[-3000:]
    assert ("IP Address", late.address) in late.shown(FLEET, name=late.address)["subjectAltName"]
    assert late.host.run(late.host.check_output(f"sed -n 's/^renew_hook = //p' {RENEWAL}")).rc == 0
    assert late.shown(FLEET, name=late.address), "what certbot may still renew is not served"
