# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By which CA the playbook validate verifies an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

PLAYBOOK = Path(__file__).resolve().parents[3] / "playbooks/validate.yml"
PROVIDED = {"tls_mode": "provided", "tls_provided_ca": "/company.pem"}


@pytest.mark.parametrize(
    ("settings", "ca"),
    [
        pytest.param({}, "/fleet/ca/ca.pem", id="fleet"),
        pytest.param(PROVIDED, "/company.pem", id="provided"),
        pytest.param({"tls_mode": "provided"}, "", id="provided by a CA that systems trust"),
        pytest.param({"validate_domain": "copilot.example.com"}, "", id="ACME"),
        pytest.param(
            {"validate_domain": "c.example.com", "tls_acme_ca_bundle": "/acme.pem"}, "/acme.pem", id="the company's ACME"
        ),
        pytest.param({**PROVIDED, "endpoint": "https://elsewhere:8443"}, "", id="any endpoint"),
        pytest.param({**PROVIDED, "ca_file": "/given.pem"}, "/given.pem", id="given"),
    ],
)
def test_the_ca_is_that_of_the_mode(settings: dict[str, Any], ca: str) -> None:
    template = trust_as_template(yaml.safe_load(PLAYBOOK.read_text())[0]["vars"]["validate_ca_file"])
    known = {"validate_domain": "", "validate_fleet_dir": "/fleet", **settings}
    assert Templar(DataLoader(), variables=known).template(template) == ca
