# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is let in by a certificate, and who is not: what the role issues, held against the real HAProxy. Tests run in order."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gateway_rig import DEVELOPERS, Developer, Gateway, entry, play
from rig import BACKEND_KEY, CHECKOUT, Llama, wait_for

# What a client sees when it is refused in the handshake; with TLS 1.3 it may only see that the connection is gone.
REFUSED = (ssl.SSLError, ConnectionError)


class Office:
    """The operator's controller, where the CA and the developers' folders are, and the folder of a host."""

    def __init__(self, work: Path) -> None:
        self.work, self.host = work, work / "host"
        self.host.mkdir()
        self.clients, self.ca = work / "fleet/clients", work / "fleet/client-ca"

    def run(self, *users: str, arguments: tuple[str, ...] = (), **settings: Any) -> str:
        """Runs the role; returns what Ansible printed."""
        variables = {
            "ansible_python_interpreter": sys.executable,
            "copilot_fleet_dir": str(self.work / "fleet"),
            "copilot_users": [{"name": name} for name in users],
            "client_certificates_config_dir": str(self.host),
            "client_certificates_group": "root",
            **settings,
        }
        inventory = self.work / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"host": variables}}}))
        done = play(CHECKOUT / "tests/contract/client_certificates.yml", inventory, *arguments)
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def pair(self, name: str, folder: Path | None = None) -> tuple[Path, Path]:
        folder = folder or self.clients / name
        return folder / "client.pem", folder / "client-key.pem"

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pair(name)[0].read_bytes())

    def pkcs12(self, name: str, *options: str) -> str:
        """What openssl reads out of a developer's file."""
        folder = self.clients / name
        password = f"file:{folder / 'client-p12-password'}"
        done = openssl("pkcs12", "-in", str(folder / "client.p12"), "-passin", password, "-nodes", "-info", *options)
        assert done.returncode == 0, done.stdout
        return done.stdout


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def changed(output: str) -> int:
    found = re.search(r"changed=(\d+)", output)
    assert found, output
    return int(found[1])


def sign(folder: Path, by: tuple[Path, Path] | None, *, days: int = 10) -> tuple[Path, Path]:
    """Makes a certificate for alice that the role would not make: ended, or of another CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate(by[0].read_bytes()) if by else None
    ca_key = serialization.load_pem_private_key(by[1].read_bytes(), None) if by else ec.generate_private_key(ec.SECP256R1())
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.timezone.utc)
    stranger = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Another CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice")]))
        .issuer_name(ca.subject if ca else stranger)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "client.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "client-key.pem").write_bytes(key.private_bytes(*form))
    return folder / "client.pem", folder / "client-key.pem"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    office = Office(tmp_path_factory.mktemp("office"))
    office.run("alice", "bob")
    return office


def gateway_of(
    office: Office, upstream: Llama, fleet_ca: tuple[Path, Path], work: Path, mtls: str, **more: Any
) -> Iterator[Gateway]:
    gateway = Gateway(
        work,
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{upstream.port}",
        copilot_mtls=mtls,
        gateway_client_ca_path=str(office.host / "client-ca.pem"),
        gateway_client_crl_path=str(office.host / "client-crl.pem"),
        **more,
    )
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def required(
    office: Office, upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    yield from gateway_of(office, upstream, fleet_ca, tmp_path_factory.mktemp("required"), "required")


@pytest.fixture
def gateway(required: Gateway) -> Gateway:
    return required


@pytest.fixture
def alices(office: Office, alice: Developer) -> Developer:
    """Alice with her certificate."""
    return replace(alice, certificate=office.pair("alice"))


@pytest.fixture
def bobs(office: Office, bob: Developer) -> Developer:
    return replace(bob, certificate=office.pair("bob"))


def test_a_developer_with_certificate_and_key_is_answered(alices: Developer, bobs: Developer) -> None:
    for developer in (alices, bobs):
        assert developer.models().status == 200
        assert developer.ask(4).rest().events[-1] == "[DONE]"


def test_certificate_and_files_are_as_they_should_be(office: Office, fleet_ca: tuple[Path, Path]) -> None:
    folder, ca = office.clients / "alice", office.ca / "ca.pem"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        name: 0o600 for name in ("client.pem", "client-key.pem", "client.p12", "client-p12-password")
    }
    assert openssl("verify", "-purpose", "sslclient", "-CAfile", str(ca), str(folder / "client.pem")).returncode == 0
    assert openssl("verify", "-purpose", "sslserver", "-CAfile", str(ca), str(folder / "client.pem")).returncode != 0
    assert (office.ca / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_a_second_run_changes_nothing(office: Office) -> None:
    assert changed(office.run("alice", "bob")) == 0


def test_a_key_alone_is_refused_in_the_handshake(alice: Developer) -> None:
    for path in ("/v1/models", "/health"):
        with pytest.raises(REFUSED):
            alice.request("GET", path)


def test_a_certificate_alone_is_no_key(alices: Developer) -> None:
    assert replace(alices, key=None).models().status == 401


@pytest.mark.parametrize("wrong", ["ended", "of another CA", "of the servers' CA"])
def test_a_wrong_certificate_is_refused_in_the_handshake(
    office: Office, alice: Developer, fleet_ca: tuple[Path, Path], tmp_path: Path, wrong: str
) -> None:
    ours = (office.ca / "ca.pem", office.ca / "ca-key.pem")
    right = replace(alice, certificate=sign(tmp_path, ours))
    assert right.models().status == 200, "what is wrong below is all that is wrong"
    by = {"ended": ours, "of another CA": None, "of the servers' CA": fleet_ca}[wrong]
    sign(tmp_path, by, days=-1 if wrong == "ended" else 10)
    with pytest.raises(REFUSED):
        right.models()


def test_pkcs12_opens_with_openssl(office: Office) -> None:
    said = office.pkcs12("alice")
    assert "PBES2, PBKDF2, AES-256-CBC" in said
    assert "BEGIN PRIVATE KEY" in said
    assert "CN = alice" in said or "CN=alice" in said
    file = str(office.clients / "alice/client.p12")
    assert openssl("pkcs12", "-in", file, "-passin", "pass:wrong", "-nodes").returncode != 0


def test_legacy_pkcs12_with_the_operators_password(office: Office) -> None:
    given, before = "given-by-the-operator", office.certificate("alice")
    settings = {"client_certificates_pkcs12": "legacy", "client_certificates_pkcs12_password": given}
    said = office.run("alice", "bob", arguments=("-vvv", "--diff"), **settings)
    assert given not in said
    assert (office.clients / "alice/client-p12-password").read_text() == f"{given}\n"
    assert "pbeWithSHA1And3-KeyTripleDES-CBC" in office.pkcs12("alice", "-legacy")
    assert office.certificate("alice") == before
    assert changed(office.run("alice", "bob", **settings)) == 0
    office.run("alice", "bob")
    assert "PBES2" in office.pkcs12("alice")


def test_nothing_secret_is_printed(office: Office) -> None:
    shutil.rmtree(office.clients / "alice")
    said = office.run("alice", "bob", arguments=("-vvv", "--diff"))
    password = (office.clients / "alice/client-p12-password").read_text().strip()
    assert len(password) >= 20
    assert password not in said
    key = (office.clients / "alice/client-key.pem").read_text().splitlines()
    assert not [line for line in key[1:-1] if line in said]


def test_a_passphrase_set_later_changed_and_removed_leaves_the_ca_as_it_is(office: Office) -> None:
    before, path = office.certificate("alice"), office.ca / "ca-key.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None).public_key()
    for new, old in (
        ("the first passphrase", ""),
        ("the second passphrase", "the first passphrase"),
        ("", "the second passphrase"),
    ):
        settings = {"client_certificates_ca_passphrase": new, "client_certificates_ca_passphrase_before": old}
        said = office.run("alice", "bob", arguments=("-vvv", "--diff"), **settings)
        assert not [one for one in (new, old) if one and one in said]
        assert changed(said) == 1
        assert serialization.load_pem_private_key(path.read_bytes(), new.encode() or None).public_key() == key
    assert changed(office.run("alice", "bob")) == 0
    assert office.certificate("alice") == before


def test_two_runs_at_once_found_one_ca(tmp_path: Path) -> None:
    office = Office(tmp_path)
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda _number: office.run("alice"), range(2)))
    ca = x509.load_pem_x509_certificate((office.ca / "ca.pem").read_bytes())
    office.certificate("alice").verify_directly_issued_by(ca)
    assert changed(office.run("alice")) == 0


def test_who_is_taken_off_is_revoked(office: Office, gateway: Gateway, alices: Developer, bob: Developer, tmp_path: Path) -> None:
    office.run("alice", "bob", "carol")
    kept = shutil.copytree(office.clients / "bob", tmp_path / "bob")
    renewed = shutil.copytree(office.clients / "carol", tmp_path / "carol")
    shutil.rmtree(office.clients / "carol")  # lost, and issued again: the first one must not come in either
    office.run("alice", "bob", "carol")
    newer = shutil.copytree(office.clients / "carol", tmp_path / "newer")
    gateway.reload()
    leavers = [replace(bob, certificate=office.pair("", folder)) for folder in (kept, renewed, newer)]
    assert [one.models().status for one in leavers] == [200] * 3

    office.run("alice", copilot_users=[{"name": "alice"}, {"name": "bob", "state": "absent"}], arguments=("--diff",))
    gateway.reload()
    for one in leavers:
        with pytest.raises(REFUSED):
            one.models()
    assert not (office.clients / "bob").exists()
    assert alices.models().status == 200

    office.run("alice", "bob")
    gateway.reload()
    assert replace(bob, certificate=office.pair("bob")).models().status == 200, "bob comes back"
    with pytest.raises(REFUSED):
        leavers[0].models()


def test_certificates_and_list_are_renewed_before_their_end(office: Office, gateway: Gateway, alice: Developer) -> None:
    before, listed = office.certificate("alice"), (office.ca / "crl.pem").read_bytes()
    office.run(
        "alice",
        "bob",
        client_certificates_days=500,
        client_certificates_renew_before_days=400,
        client_certificates_crl_days=500,
        client_certificates_crl_renew_before_days=400,
    )
    assert office.certificate("alice").not_valid_after_utc > before.not_valid_after_utc
    assert (office.ca / "crl.pem").read_bytes() != listed
    gateway.reload()
    assert replace(alice, certificate=office.pair("alice")).models().status == 200
    assert changed(office.run("alice", "bob")) == 0


def test_the_log_names_the_developer(gateway: Gateway, alices: Developer) -> None:
    before = gateway.log.count("client=alice")
    assert alices.models().status == 200
    wait_for("the log has it", lambda: gateway.log.count("client=alice") == before + 1)


def test_optional_and_instead_of_a_key(
    office: Office, upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path: Path, alice: Developer, bob: Developer
) -> None:
    settings = {"copilot_mtls_replaces_key": True, "gateway_key_requests": 5}
    for gateway in gateway_of(office, upstream, fleet_ca, tmp_path, "optional", **settings):
        alice, bob = replace(alice, gateway=gateway), replace(bob, gateway=gateway)
        alices, bobs = (replace(one, certificate=office.pair(name)) for one, name in ((alice, "alice"), (bob, "bob")))
        assert alice.models().status == 200, "a key alone"
        assert replace(alice, key=None).models().status == 401, "nothing"
        assert replace(alices, key="sk-wrong-wrong-wrong").models().status == 401, "a wrong key is wrong"
        assert replace(alices, key=None).models().status == 200, "a certificate alone"
        ended = sign(tmp_path, (office.ca / "ca.pem", office.ca / "ca-key.pem"), days=-1)
        with pytest.raises(REFUSED):
            replace(alice, key=None, certificate=ended).models()
        said = [replace(bobs, key=None).models().status for _round in range(6)]
        assert said == [200] * 5 + [429], "limits hold for its name"
        assert replace(alices, key=None).models().status == 200, "and leave others alone"


def test_a_balancer_of_another_host_needs_its_key_only(
    office: Office, upstream: Llama, fleet_ca: tuple[Path, Path], tmp_path: Path, alice: Developer
) -> None:
    settings = {
        "gateway_local_server": f"127.0.0.1:{upstream.port}",
        "gateway_keys": [*DEVELOPERS, entry("balancer", BACKEND_KEY, "balancer")],
    }
    for gateway in gateway_of(office, upstream, fleet_ca, tmp_path, "required", **settings):
        alice = replace(alice, gateway=gateway)
        assert replace(alice, key=BACKEND_KEY).models().status == 200
        answer = alice.models()
        assert (answer.status, answer.json["error"]["code"]) == (403, "client_certificate_required")
        assert replace(alice, certificate=office.pair("alice")).models().status == 200
