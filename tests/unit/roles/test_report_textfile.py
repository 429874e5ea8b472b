# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role report puts into the file for Prometheus' node exporter: what a run knows, and nothing that is not there."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VARS = Path(__file__).resolve().parents[3] / "roles/report/vars/main.yml"
START, END = datetime.datetime(2026, 1, 1), datetime.datetime(2036, 1, 1)
NEXT = datetime.datetime(2027, 1, 1)
FIGURES = [{"chosen": True, "prompt_tokens_per_second": 61.5, "generated_tokens_per_second": 7.25}]
TUNED = {"tuning": {"tiny": {"figures": FIGURES}, "old": {"figures": FIGURES}}, "settings": {"tiny": {}}}
PLANNED = {"plan": {"mib": {"weights": 17}, "memory_max_mib": 100}}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A fleet's folder with a CA, and one of clients with its list of revoked certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fleet")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(START).not_valid_after(END).sign(key, hashes.SHA256())
    revoked = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(START).next_update(NEXT)
    for folder in ("ca", "client-ca"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "client-ca/crl.pem").write_bytes(revoked.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return tmp_path


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: trusted(one) for name, one in value.items()}
    return trust_as_template(value) if isinstance(value, str) else value


def metrics(fleet: Path, **known: Any) -> list[str]:
    variables = {name: trusted(one) for name, one in yaml.safe_load(VARS.read_text()).items()}
    host = {"mode": "standalone", "cpu_variant": "zen4"}
    usual = {
        "copilot_fleet_dir": str(fleet),
        "copilot_mtls": "off",
        "copilot_result": {"server": True},
        "report_engine": "1",
        "report_result": {"now": host},
    }
    text = Templar(DataLoader(), variables={**variables, **usual, **known}).template(
        trust_as_template("{{ __report_metrics | slm.copilot.host_metrics }}")
    )
    return [line for line in text.splitlines() if not line.startswith("#")]


INFO = 'copilot_host_info{mode="standalone",engine="1",cpu_variant="zen4"} 1'
CA, CLIENT_CA, CRL = (
    f'copilot_host_end_timestamp_seconds{{of="{of}"}} {end.replace(tzinfo=datetime.timezone.utc).timestamp():.0f}'
    for of, end in (("fleet_ca", END), ("client_ca", END), ("client_crl", NEXT))
)


def test_without_a_plan_and_a_ca_there_is_little_to_say(tmp_path: Path) -> None:
    assert metrics(tmp_path) == [INFO]


def test_ends_of_all_that_is_trusted(fleet: Path) -> None:
    assert metrics(fleet) == [INFO, CA]
    assert metrics(fleet, copilot_mtls="required") == [INFO, CA, CLIENT_CA, CRL]


def test_the_plan_and_speeds_of_settings_that_hold(fleet: Path) -> None:
    said = metrics(fleet, llama_server_result=PLANNED, llama_server_tuned=TUNED)
    assert said[2:] == [
        'copilot_host_memory_plan_bytes{part="weights"} 17825792',
        'copilot_host_memory_plan_bytes{part="memory_max"} 104857600',
        'copilot_host_tuned_tokens_per_second{model="tiny",kind="prompt"} 61.5',
        'copilot_host_tuned_tokens_per_second{model="tiny",kind="generated"} 7.25',
    ]
    assert metrics(fleet, copilot_result={"server": False}, llama_server_result=PLANNED) == [INFO, CA], "a balancer's is none"
    assert metrics(fleet, llama_server_result={"plan": None}) == [INFO, CA], "of a first run in check mode"
