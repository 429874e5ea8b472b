# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is let in by a certificate, and who is not."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ADDRESS, CLIENT_CA, CLIENTS, FLEET_CA, REFUSED, Developer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from engine import SOCKET
from people import FLEET, Operator
from testinfra.host import Host
from tls_scan import scan, weaknesses


def sign(
    folder: Path, *, days: int = 10, by: tuple[Path, Path] | None = (CLIENT_CA / "ca.pem", CLIENT_CA / "ca-key.pem")
) -> Path:
    """Makes a certificate for alice that the role would not make: ended, or of another CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate(by[0].read_bytes()) if by else None
    ca_key = serialization.load_pem_private_key(by[1].read_bytes(), None) if by else ec.generate_private_key(ec.SECP256R1())
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
    (folder / "client.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "client-key.pem").write_bytes(key.private_bytes(*form))
    return folder


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def pkcs12(user: str, *options: str) -> str:
    """What openssl reads out of a user's file."""
    folder = CLIENTS / user
    done = openssl(
        "pkcs12",
        "-in",
        str(folder / "client.p12"),
        "-passin",
        f"file:{folder / 'client-p12-password'}",
        "-nodes",
        "-info",
        *options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def subject(user: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((CLIENTS / user / "client.pem").read_bytes())


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_developer_with_certificate_and_key_is_answered(developer: Callable[..., Developer], name: str) -> None:
    assert developer(name).chat().status == 200
    stream = developer(name).stream()
    assert stream.finished and stream.pieces


def test_certificate_and_files_are_as_they_should_be() -> None:
    folder = CLIENTS / "alice"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.name.startswith("client")} == {
        name: 0o600 for name in ("client.pem", "client-key.pem", "client.p12", "client-p12-password")
    }
    assert (
        openssl("verify", "-purpose", "sslclient", "-CAfile", str(CLIENT_CA / "ca.pem"), str(folder / "client.pem")).returncode
        == 0
    )
    assert openssl("verify", "-purpose", "sslserver", "-CAfile", str(CLIENT_CA / "ca.pem"), str(folder / "client.pem")).returncode
    assert (CLIENT_CA / "ca.pem").read_bytes() != FLEET_CA.read_bytes(), "a CA of its own"
    assert (CLIENT_CA / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_a_key_alone_is_refused_in_the_handshake(keys: dict[str, str]) -> None:
    for path in ("/v1/models", "/health"):
        with pytest.raises(REFUSED):
            Developer(keys["alice"]).request("GET", path)


def test_a_certificate_alone_is_no_key(developer: Callable[..., Developer]) -> None:
    assert developer("alice", key=None).models() == 401


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"days": -1}, id="ended"),
        pytest.param({"by": None}, id="of another CA"),
        pytest.param({"by": (FLEET / "ca/ca.pem", FLEET / "ca/ca-key.pem")}, id="of the servers' CA"),
    ],
)
def test_a_wrong_certificate_is_refused_in_the_handshake(
    developer: Callable[..., Developer], tmp_path: Path, wrong: dict[str, object]
) -> None:
    sign(tmp_path)
    assert developer("alice", folder=tmp_path).models() == 200, "what is wrong below is all that is wrong"
    sign(tmp_path, **wrong)
    with pytest.raises(REFUSED):
        developer("alice", folder=tmp_path).models()


def test_pkcs12_opens_with_openssl(operator: Operator) -> None:
    said = pkcs12("alice")
    assert "PBES2, PBKDF2, AES-256-CBC" in said
    assert "BEGIN PRIVATE KEY" in said
    assert "CN = alice" in said or "CN=alice" in said
    assert openssl("pkcs12", "-in", str(CLIENTS / "alice/client.p12"), "-passin", "pass:wrong", "-nodes").returncode


def test_legacy_pkcs12_with_the_operators_password(operator: Operator) -> None:
    given = "given-by-the-operator"
    before = subject("alice")
    options = {"client_certificates_pkcs12": "legacy", "client_certificates_pkcs12_password": given}
    run = operator.run("-vvv", "--diff", playbook="playbooks/clients.yml", **options)
    assert run.status == 0, run.output[-3000:]
    assert given not in run.output.replace(given, "", 1), "once, in the command line that the test itself gives"
    assert (CLIENTS / "alice/client-p12-password").read_text() == f"{given}\n"
    assert "pbeWithSHA1And3-KeyTripleDES-CBC" in pkcs12("alice", "-legacy")
    assert subject("alice") == before
    assert operator.run(playbook="playbooks/clients.yml", **options).changed("mtls-1") == 0
    assert operator.run(playbook="playbooks/clients.yml").status == 0
    assert "PBES2" in pkcs12("alice")


def test_a_second_run_changes_nothing(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/clients.yml")
    assert run.status == 0, run.output[-3000:]
    assert run.changed("mtls-1") == 0


def test_who_is_taken_off_is_revoked_at_once(operator: Operator, developer: Callable[..., Developer], tmp_path: Path) -> None:
    carol = [{"name": "alice"}, {"name": "bob"}, {"name": "carol"}]
    assert operator.run("--tags", "server", copilot_users=carol).status == 0, "she has a key"
    assert operator.run(playbook="playbooks/clients.yml", copilot_users=carol).status == 0
    kept = shutil.copytree(CLIENTS / "bob", tmp_path / "bob")
    renewed = shutil.copytree(CLIENTS / "carol", tmp_path / "carol")
    shutil.rmtree(CLIENTS / "carol")  # lost, and issued again: the first one must not come in either
    assert operator.run(playbook="playbooks/clients.yml", copilot_users=carol).status == 0
    newer = shutil.copytree(CLIENTS / "carol", tmp_path / "newer")
    key = developer("alice").key
    for folder in (kept, renewed, newer):
        assert developer("bob", key=key, folder=folder).models() == 200

    run = operator.run(
        "--diff", playbook="playbooks/clients.yml", copilot_users=[{"name": "alice"}, {"name": "bob", "state": "absent"}]
    )
    assert run.status == 0, run.output[-3000:]
    for folder in (kept, renewed, newer):
        with pytest.raises(REFUSED):
            developer("bob", key=key, folder=folder).models()
    assert not (CLIENTS / "bob").exists()
    assert developer("alice").models() == 200

    assert operator.run(playbook="playbooks/clients.yml").status == 0, "bob comes back"
    assert developer("bob", key=key).models() == 200
    with pytest.raises(REFUSED):
        developer("bob", key=key, folder=kept).models()


def test_certificates_and_list_are_renewed_before_their_end(operator: Operator, developer: Callable[..., Developer]) -> None:
    before, listed = subject("alice"), (CLIENT_CA / "crl.pem").read_bytes()
    soon = {"client_certificates_days": 500, "client_certificates_renew_before_days": 400}
    soon |= {"client_certificates_crl_days": 500, "client_certificates_crl_renew_before_days": 400}
    run = operator.run(playbook="playbooks/clients.yml", **soon)
    assert run.status == 0, run.output[-3000:]
    assert subject("alice").not_valid_after_utc > before.not_valid_after_utc
    assert (CLIENT_CA / "crl.pem").read_bytes() != listed
    assert developer("alice").models() == 200
    assert operator.run(playbook="playbooks/clients.yml").changed("mtls-1") == 0


def test_nothing_secret_is_printed_or_readable(operator: Operator) -> None:
    shutil.rmtree(CLIENTS / "alice")
    run = operator.run("-vvv", "--diff", playbook="playbooks/clients.yml")
    assert run.status == 0, run.output[-3000:]
    password = (CLIENTS / "alice/client-p12-password").read_text().strip()
    assert len(password) >= 20
    assert password not in run.output
    key = (CLIENTS / "alice/client-key.pem").read_text().splitlines()
    assert not [line for line in key[1:-1] if line in run.output]


def test_the_seven_checks_pass_with_a_certificate(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/validate.yml")
    assert run.status == 0, run.output[-3000:]


def test_optional_and_instead_of_a_key(
    operator: Operator, developer: Callable[..., Developer], keys: dict[str, str], tmp_path: Path
) -> None:
    settings = {"copilot_mtls": "optional", "copilot_mtls_replaces_key": True, "gateway_key_requests": 5}
    run = operator.run("-vvv", "--diff", "--tags", "gateway", **settings)
    assert run.status == 0, run.output[-3000:]
    assert not [key for key in keys.values() if key in run.output]
    try:
        assert Developer(keys["alice"]).models() == 200, "a key alone"
        assert Developer(None).models() == 401, "nothing"
        assert developer("alice", key="sk-wrong-wrong-wrong").models() == 401, "a wrong key is wrong"
        assert developer("alice", key=None).models() == 200, "a certificate alone"
        with pytest.raises(REFUSED):
            developer("alice", key=None, folder=sign(tmp_path, days=-1)).models()
        assert [developer("bob", key=None).models() for _round in range(6)] == [200] * 5 + [429], "limits hold for its name"
        assert developer("alice", key=None).models() == 200, "and leave others alone"
    finally:
        assert operator.run("--tags", "gateway").status == 0
    assert developer("alice", key=None).models() == 401


def test_a_balancer_of_another_host_needs_its_key_only(
    operator: Operator, developer: Callable[..., Developer], keys: dict[str, str]
) -> None:
    backend_key = keys["shared"]
    settings = {
        "gateway_local_server": f"unix@{SOCKET}",
        "gateway_backend_key_sha256": __import__("hashlib").sha256(backend_key.encode()).hexdigest(),
    }
    run = operator.run("--tags", "gateway", **settings)
    assert run.status == 0, run.output[-3000:]
    try:
        assert Developer(backend_key).models() == 200
        answer = Developer(keys["alice"]).request("GET", "/v1/models")
        assert (answer.status, answer.json()["error"]["code"]) == (403, "client_certificate_required")
        assert developer("alice").models() == 200
    finally:
        assert operator.run("--tags", "gateway").status == 0


def test_the_log_names_the_developer(server: Host, developer: Callable[..., Developer]) -> None:
    assert developer("alice").models() == 200
    log = server.check_output("journalctl --unit=slm-copilot-gateway --output=cat --no-pager --lines=5")
    assert "client=alice" in log


def test_tls_has_no_weakness(tmp_path: Path) -> None:
    mine = [f"--cert={CLIENTS / 'alice/client.pem'}", f"--key={CLIENTS / 'alice/client-key.pem'}"]
    assert weaknesses(scan(f"{ADDRESS}:8443", tmp_path, *mine)) == []
