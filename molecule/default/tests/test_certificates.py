# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of the operator's own, and one that is spoilt on the host."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from conftest import ADDRESS, Client, Operator
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from testinfra.host import Host

CERTIFICATE = "/etc/slm-copilot/server.pem"


class Authority:
    """A company's CA, with an intermediate one that signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.root_key = self.issue("Example root", ca=True)
        self.middle, self.middle_key = self.issue("Example intermediate", ca=True, issuer=(self.root, self.root_key))
        self.write("root.pem", self.root)

    def issue(self, name, *, ca=False, issuer=None, addresses=()):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        by, by_key = issuer or (None, key)
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.subject if by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), critical=False)
        )
        if addresses:
            names = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(by_key, hashes.SHA256()), key

    def write(self, name: str, *certificates: x509.Certificate) -> str:
        path = self.folder / name
        path.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates))
        return str(path)

    def server(self) -> dict[str, str]:
        """Returns the variables of tls_mode provided. What is refused is in tests/contract/test_refusals.py."""
        certificate, key = self.issue("copilot", issuer=(self.middle, self.middle_key), addresses=[ADDRESS])
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / "server.key").write_bytes(key.private_bytes(*form))
        return {
            "tls_mode": "provided",
            "tls_provided_certificate": self.write("server.pem", certificate, self.middle),
            "tls_provided_key": str(self.folder / "server.key"),
            "tls_provided_ca": str(self.folder / "root.pem"),
        }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_operators_own_certificate_is_served_and_given_back(operator: Operator, key: str, authority: Authority) -> None:
    settings = authority.server()
    run = operator.run("--tags", "tls,gateway", **settings)
    assert run.status == 0, run.output[-3000:]
    assert Client(key, ca=Path(settings["tls_provided_ca"])).chat().status == 200
    assert operator.run("--tags", "tls,gateway", **settings).changed("copilot-default") == 0

    assert operator.run("--tags", "tls,gateway").status == 0
    assert Client(key).chat().status == 200


def test_a_spoilt_certificate_is_named_as_the_cause(operator: Operator, server: Host, key: str) -> None:
    server.check_output(f"cp -p {CERTIFICATE} /root/kept.pem && echo spoilt > {CERTIFICATE}")
    try:
        run = operator.run("--tags", "gateway")
        assert run.status != 0
        assert CERTIFICATE in run.output.partition("fatal:")[2]
    finally:
        server.check_output(f"mv /root/kept.pem {CERTIFICATE}")
    assert operator.run("--tags", "gateway").status == 0
    assert Client(key).chat().status == 200
