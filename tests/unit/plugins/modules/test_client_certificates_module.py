# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import shutil
import stat
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from ansible_collections.slm.copilot.plugins.modules import client_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

PASSPHRASE = "passphrase of the CA"


def found_ca(folder, passphrase=None, days=3650):
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client CA")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA384())
    )
    protection = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    (folder / "ca-key.pem").write_bytes(key.private_bytes(*form))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def fleet(tmp_path, run_module):
    found_ca(tmp_path / "ca")

    def run(*users, check=False, **more):
        parameters = {"ca_dir": str(tmp_path / "ca"), "directory": str(tmp_path / "clients"), "users": list(users), **more}
        return run_module(client_certificates, parameters, check=check, diff=True)

    return run


def certificate(folder):
    return x509.load_pem_x509_certificate((folder / "client.pem").read_bytes())


def revoked(tmp_path):
    return {entry.serial_number for entry in x509.load_pem_x509_crl((tmp_path / "ca/crl.pem").read_bytes())}


def unpacked(folder):
    password = (folder / "client-p12-password").read_bytes().strip()
    return pkcs12.load_key_and_certificates((folder / "client.p12").read_bytes(), password)


def everything(path):
    return {
        str(one): (one.stat().st_mtime_ns, one.read_bytes())
        for one in sorted(path.rglob("*"))
        if one.is_file() and one.name != ".lock"
    }


def test_a_ca_that_ends_soon_issues_once(tmp_path, run_module):
    found_ca(tmp_path / "ca", days=20)
    parameters = {"ca_dir": str(tmp_path / "ca"), "directory": str(tmp_path / "clients"), "users": ["alice"]}
    assert run_module(client_certificates, parameters)["changed"]
    assert not run_module(client_certificates, parameters, check=True)["changed"]
    assert not run_module(client_certificates, parameters)["changed"]


def test_a_ca_that_has_ended_is_told(tmp_path, run_module):
    found_ca(tmp_path / "ca", days=-1)
    parameters = {"ca_dir": str(tmp_path / "ca"), "directory": str(tmp_path / "clients"), "users": ["alice"]}
    result = run_module(client_certificates, parameters)
    assert result["failed"] and "expired on 20" in result["msg"] and "give every developer new files" in result["msg"]
    assert not (tmp_path / "clients").exists()


@pytest.mark.parametrize("junk", [b"", b"notes", b"\xff\xfe"], ids=["empty, as after a power cut", "notes", "no text"])
def test_junk_among_what_was_issued_is_told(fleet, tmp_path, junk):
    fleet("alice", "bob")
    (tmp_path / "ca/issued/alice-1.pem").write_bytes(junk)
    result = fleet("alice")
    assert result["failed"] and f"{tmp_path}/ca/issued/alice-1.pem is not a certificate" in result["msg"]
    assert not revoked(tmp_path)


@pytest.mark.parametrize("name", ["client-p12-password", "client.p12", "client.pem", "client-key.pem"])
def test_junk_in_a_developer_s_folder_is_replaced(fleet, tmp_path, name):
    fleet("alice")
    (tmp_path / "clients/alice" / name).write_bytes(b"\xff\xfejunk")
    assert fleet("alice")["changed"]
    _key, packed, _others = unpacked(tmp_path / "clients/alice")
    assert packed == certificate(tmp_path / "clients/alice")
    assert not fleet("alice")["changed"]


def test_dates_of_an_older_cryptography_are_in_utc():
    old = SimpleNamespace(not_valid_after=datetime(2026, 1, 2, 3, 4))
    assert client_certificates.in_utc(old, "not_valid_after") == datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)


def test_check_run_check_run(fleet, tmp_path):
    before = everything(tmp_path)
    foreseen = fleet("alice", "bob", check=True)
    assert foreseen["changed"] and set(foreseen["issued"]) == {"alice", "bob"}
    assert everything(tmp_path) == before

    made = fleet("alice", "bob")
    assert made["changed"] and made["issued"] == foreseen["issued"] and made["crl_reason"] == "there is none"
    for user in ("alice", "bob"):
        folder = tmp_path / "clients" / user
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
        key, packed, others = unpacked(folder)
        assert packed == certificate(folder)
        assert key.public_key() == packed.public_key()
        assert len(others) == 1
        for secret in ("client-key.pem", "client-p12-password"):
            assert not [line for line in (folder / secret).read_text().splitlines() if line in json.dumps(made)]

    there = everything(tmp_path)
    assert not fleet("alice", "bob", check=True)["changed"]
    assert not fleet("alice", "bob")["changed"]
    assert everything(tmp_path) == there


def test_who_is_taken_off_is_revoked_with_all_that_was_issued(fleet, tmp_path):
    fleet("alice", "bob")
    first = certificate(tmp_path / "clients/bob").serial_number
    shutil.rmtree(tmp_path / "clients/bob")
    fleet("alice", "bob")
    second = certificate(tmp_path / "clients/bob").serial_number
    (tmp_path / "clients/bob/notes").write_text("somebody's own")

    foreseen = fleet("alice", check=True)
    result = fleet("alice")
    assert result["revoked"] == foreseen["revoked"] and set(result["revoked"]) == {"bob"}
    assert revoked(tmp_path) == {first, second}
    assert [one.name for one in (tmp_path / "clients/bob").iterdir()] == ["notes"]
    assert "bob: revoked" in result["diff"]["after"]
    assert not fleet("alice")["changed"]

    assert fleet("alice", "bob")["issued"] == {"bob": "there is none"}
    assert revoked(tmp_path) == {first, second}


def test_renewal(fleet, tmp_path):
    fleet("alice", days=20, renew_before_days=10)
    before = certificate(tmp_path / "clients/alice")
    listed = (tmp_path / "ca/crl.pem").read_bytes()
    result = fleet("alice", crl_renew_before_days=400, crl_days=500)
    assert "ends on" in result["issued"]["alice"] and "ends on" in result["crl_reason"]
    after = certificate(tmp_path / "clients/alice")
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert (tmp_path / "ca/crl.pem").read_bytes() != listed
    assert revoked(tmp_path) == set(), "the old one is valid until its end"
    assert unpacked(tmp_path / "clients/alice")[1] == after


@pytest.mark.parametrize("encoding", ["modern", "legacy"])
def test_another_encoding_or_password_packs_anew_and_issues_nothing(fleet, tmp_path, encoding):
    fleet("alice")
    before = certificate(tmp_path / "clients/alice")
    result = fleet("alice", pkcs12=encoding, pkcs12_password="given-by-hand")
    assert result["changed"] and result["issued"] == {}
    assert "given-by-hand" not in json.dumps(result)
    assert unpacked(tmp_path / "clients/alice")[1] == before == certificate(tmp_path / "clients/alice")
    assert not fleet("alice", pkcs12=encoding, pkcs12_password="given-by-hand")["changed"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "client-key.pem").unlink(), id="key lost"),
        pytest.param(lambda folder: (folder / "client.pem").write_text("spoilt"), id="certificate spoilt"),
        pytest.param(lambda folder: shutil.copy(folder.parent / "bob/client-key.pem", folder), id="key of another"),
        pytest.param(
            lambda folder: [shutil.copy(folder.parent / "bob" / name, folder) for name in ("client.pem", "client-key.pem")],
            id="certificate of another",
        ),
    ],
)
def test_what_is_spoilt_is_issued_anew(fleet, tmp_path, spoil):
    fleet("alice", "bob")
    spoil(tmp_path / "clients/alice")
    assert fleet("alice", "bob")["issued"] == {"alice": "there is none"}
    assert not fleet("alice", "bob")["changed"]


def test_a_mode_that_lets_others_read_is_mended(fleet, tmp_path):
    fleet("alice")
    (tmp_path / "clients/alice/client-key.pem").chmod(0o644)
    assert fleet("alice", check=True)["changed"]
    assert fleet("alice")["changed"]
    assert stat.S_IMODE((tmp_path / "clients/alice/client-key.pem").stat().st_mode) == 0o600


def test_a_new_ca_issues_to_everybody(fleet, tmp_path):
    fleet("alice")
    (tmp_path / "ca").rename(tmp_path / "old")
    found_ca(tmp_path / "ca")
    assert set(fleet("alice")["issued"]) == {"alice"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(PASSPHRASE, None, id="right"),
        pytest.param("another one entirely", "does not open with it (one was given)", id="wrong"),
        pytest.param(None, "does not open with it (none was given)", id="missing"),
    ],
)
def test_passphrase(tmp_path, run_module, given, told):
    found_ca(tmp_path / "ca", PASSPHRASE)
    parameters = {"ca_dir": str(tmp_path / "ca"), "directory": str(tmp_path / "clients"), "users": ["alice"]}
    result = run_module(client_certificates, {**parameters, "ca_passphrase": given})
    if told:
        assert result["failed"] and told in result["msg"]
        assert not (tmp_path / "clients").exists()
    else:
        assert result["issued"]
    assert PASSPHRASE not in json.dumps(result)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(lambda ca: (ca / "ca.pem").unlink(), "is not the folder of a CA", id="no CA"),
        pytest.param(lambda ca: (ca / "crl.pem").write_text("spoilt"), "it is not known who was revoked", id="list spoilt"),
    ],
)
def test_what_cannot_work_changes_nothing(fleet, tmp_path, spoil, told):
    fleet("alice")
    spoil(tmp_path / "ca")
    before = everything(tmp_path)
    result = fleet("alice", "bob")
    assert result["failed"] and told in result["msg"]
    assert everything(tmp_path) == before


def test_who_was_revoked_stays_revoked(fleet, tmp_path):
    fleet("alice", "bob")
    old = certificate(tmp_path / "clients/bob").serial_number
    fleet("alice")
    fleet("alice", "bob")
    new = certificate(tmp_path / "clients/alice").serial_number
    fleet("bob")
    assert revoked(tmp_path) == {old, new}
    fleet("bob", crl_renew_before_days=400, crl_days=500)
    assert revoked(tmp_path) == {old, new}, "also when the list is only renewed"
