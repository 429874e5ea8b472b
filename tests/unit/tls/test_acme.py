# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The script beside certbot: which certificate is served, and when certbot is to be asked. The pairs are real ones."""

from __future__ import annotations

import grp
import importlib.util
import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ACME = Path(__file__).parents[3] / "roles/tls/files/acme.py"
DOMAIN = "copilot.example.com"


@pytest.fixture(scope="module")
def acme():
    spec = importlib.util.spec_from_file_location("acme", ACME)
    module = importlib.util.module_from_spec(spec)
    sys.modules["acme"] = module
    spec.loader.exec_module(module)
    return module


class Authority:
    """A CA with an intermediate one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.root, self.root_key = self.issue(name, ca=True)
        self.middle, self.middle_key = self.issue(f"{name} 2", ca=True, by=(self.root, self.root_key))
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))

    def issue(self, name, *, ca=False, by=None, days=90, age=1, names=()):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by[0].subject if by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=age))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        )
        return builder.sign(by[1] if by else key, hashes.SHA256()), key

    def pair(self, certificate: Path, key: Path, *, names=(DOMAIN,), days=90, age=1, chain=True, other_key=False) -> None:
        made, made_key = self.issue("host", by=(self.middle, self.middle_key), days=days, age=age, names=names)
        shown = [made, self.middle] if chain else [made]
        certificate.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in shown))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key.write_bytes((ec.generate_private_key(ec.SECP256R1()) if other_key else made_key).private_bytes(*form))


@pytest.fixture
def company(tmp_path):
    return Authority(tmp_path, "company")


@pytest.fixture
def fleet(tmp_path):
    return Authority(tmp_path, "fleet")


@pytest.fixture
def host(acme, tmp_path, company, fleet):
    """A host that serves its certificate of the fleet CA; certbot has none yet."""
    (tmp_path / "live").mkdir()
    settings = {
        "names": [DOMAIN],
        "live": str(tmp_path / "live"),
        "renewal": str(tmp_path / "renewal.conf"),
        "certificate": str(tmp_path / "server.pem"),
        "key": str(tmp_path / "server-key.pem"),
        "fallback_certificate": str(tmp_path / "fleet-host.pem"),
        "fallback_key": str(tmp_path / "fleet-host-key.pem"),
        "group": grp.getgrgid(os.getgid()).gr_name,
        "ca_files": [str(company.file)],
        "staging": False,
        "certbot": {"server": "https://acme.example/dir", "port": "8402", "address": "127.0.0.1", "hook": "hook it"},
    }
    one = acme.Host(settings)
    fleet.pair(*one.fallback)
    Path(settings["renewal"]).write_text(
        "version = 2.1.0\n[renewalparams]\nserver = https://acme.example/dir\nhttp01_port = 8402\n"
        "http01_address = 127.0.0.1\nrenew_hook = hook it\n[[webroot_map]]\n"
    )
    return one


def serves(host, pair) -> bool:
    return [there.read_bytes() for there in host.served] == [source.read_bytes() for source in pair]


def test_without_any_the_fleets_is_served(host):
    said = host.deploy()
    assert said == {"changed": True, "serves": "fleet_ca", "problem": "there is none"}
    assert serves(host, host.fallback)
    assert {there.stat().st_mode & 0o777 for there in host.served} == {0o640}
    assert not host.deploy()["changed"]


def test_certbots_is_served(host, company):
    host.deploy()
    company.pair(*host.live)
    assert host.deploy() == {"changed": True, "serves": "acme", "problem": ""}
    assert serves(host, host.live)
    assert not host.deploy()["changed"]
    assert not [path for path in host.served[0].parent.iterdir() if path.suffix == ".new"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        pytest.param({"other_key": True}, "cannot be used together", id="another key"),
        pytest.param({"names": ["other.example.com"]}, f"it is not for {DOMAIN}", id="another name"),
        pytest.param({"days": -1, "age": 90}, "it has ended", id="ended"),
        pytest.param({"age": -1}, "it is not valid yet", id="not valid yet"),
        pytest.param({"chain": False}, "it cannot be verified", id="no chain"),
    ],
)
def test_a_valid_one_is_never_replaced_by_a_bad_one(host, company, wrong, problem):
    company.pair(*host.live)
    host.deploy()
    before = [there.read_bytes() for there in host.served]
    company.pair(*host.live, **wrong)
    said = host.deploy()
    assert (said["changed"], said["serves"]) == (False, "acme")
    assert problem in said["problem"]
    assert [there.read_bytes() for there in host.served] == before


def test_one_that_has_ended_gives_way_to_the_fleets(host, company):
    company.pair(*host.live, days=-1, age=90)
    company.pair(*host.served, days=-1, age=90)
    assert host.deploy()["serves"] == "fleet_ca"
    assert serves(host, host.fallback)


def test_of_a_ca_that_nobody_trusts(host, fleet):
    fleet.pair(*host.live)
    assert "cannot be verified" in host.deploy()["problem"]
    said = host.status()
    assert said["reason"] == "" and "cannot be verified" in said["problem"], "another one would be no better"


def test_staging_trusts_the_chain_that_comes_with_it(acme, host, fleet):
    fleet.pair(*host.live)
    staging = acme.Host({**host.settings, "staging": True})
    assert staging.deploy()["serves"] == "acme"
    fleet.pair(*host.live, names=["other.example.com"])
    assert staging.deploy()["problem"] == f"it is not for {DOMAIN}"


@pytest.mark.parametrize(
    ("change", "pair", "reason"),
    [
        pytest.param({}, {}, "", id="good"),
        pytest.param({}, None, "there is none", id="none"),
        pytest.param({}, {"days": 15, "age": 75}, "and the renewals failed", id="overdue"),
        pytest.param({}, {"days": 3, "age": 3}, "", id="short-lived and young"),
        pytest.param({"names": [DOMAIN, "b.example.com"]}, {}, "it is not for b.example.com", id="a further name"),
        pytest.param({"server": "https://other.example/dir"}, {}, "its settings changed (server)", id="another server"),
        pytest.param({"port": "", "address": ""}, {}, "(http01_port, http01_address)", id="without the gateway"),
        pytest.param({"renewal": "/nowhere"}, {}, "its settings changed", id="forgotten by certbot"),
    ],
)
def test_when_certbot_is_asked(acme, host, company, change, pair, reason):
    if pair is not None:
        company.pair(*host.live, **pair)
    settings = json.loads(json.dumps(host.settings))
    for name, value in change.items():
        (settings["certbot"] if name in settings["certbot"] else settings)[name] = value
    said = acme.Host(settings).status()["reason"]
    assert reason in said if reason else said == ""
