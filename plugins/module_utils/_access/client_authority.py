# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CA of client certificates in its folder, and the folder of files that a user is handed."""

from __future__ import annotations

import traceback
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.client_certificates import Issued, encoding_of, new_password
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs12
    from cryptography.x509.oid import ExtendedKeyUsageOID

    MISSING = None if hasattr(x509.Certificate, "verify_directly_issued_by") else "an older version of it is there"
except ImportError:
    MISSING = traceback.format_exc()

CERTIFICATE = "client.pem"
KEY = "client-key.pem"
P12 = "client.p12"
PASSWORD = "client-p12-password"
FILES = (CERTIFICATE, KEY, P12, PASSWORD)
CLOCKS_DIFFER = timedelta(hours=1)


def user_of(certificate: Any) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def in_utc(dated: Any, name: str) -> datetime:
    """Returns a date of a certificate or list. cryptography before version 42 gives them without their time zone, UTC."""
    found: datetime = getattr(dated, f"{name}_utc", None) or getattr(dated, name).replace(tzinfo=timezone.utc)
    return found


def issued_of(certificate: Any) -> Issued:
    return Issued(user_of(certificate), certificate.serial_number, in_utc(certificate, "not_valid_after"))


class Authority:
    """The CA in its folder, with what it has signed and revoked."""

    def __init__(self, folder: Path, passphrase: str | None) -> None:
        self.folder = folder
        try:
            self.certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = (folder / "ca-key.pem").read_bytes()
        except (OSError, ValueError) as error:
            raise CopilotError(f"ca_dir: {folder} is not the folder of a CA with ca.pem and ca-key.pem: {error}") from None
        try:
            self.key: Any = serialization.load_pem_private_key(key, passphrase.encode() if passphrase else None)
        except (TypeError, ValueError):
            raise CopilotError(
                f"ca_passphrase: the CA's key {folder / 'ca-key.pem'} does not open with it "
                f"({'one was given' if passphrase else 'none was given'})"
            ) from None

        self.end = in_utc(self.certificate, "not_valid_after")
        if self.end <= datetime.now(timezone.utc):
            raise CopilotError(
                f"ca_dir: the CA {folder / 'ca.pem'} expired on {self.end:%Y-%m-%d}, so nobody accepts what it signs. "
                f"Move {folder} away and run slm.copilot.site, which creates a new one; then give every developer new files"
            )

    @property
    def list_path(self) -> Path:
        return self.folder / "crl.pem"

    def signed(self, certificate: Any) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def issued(self) -> list[Issued]:
        found = []
        for path in sorted((self.folder / "issued").glob("*.pem")):
            try:
                found.append(x509.load_pem_x509_certificate(path.read_bytes()))
            except ValueError:
                raise CopilotError(
                    f"ca_dir: {path} is not a certificate, so its owner could not be revoked. Restore it "
                    "from your backup, or remove it if it was never one"
                ) from None
        return [issued_of(one) for one in found if self.signed(one)]

    def revocations(self) -> Any:
        """The list of revoked certificates, or None."""
        if not self.list_path.exists():
            return None
        try:
            return x509.load_pem_x509_crl(self.list_path.read_bytes())
        except ValueError:
            raise CopilotError(
                f"ca_dir: {self.list_path} cannot be read, so it is not known who was revoked. Restore it from your backup"
            ) from None

    def issue(self, user: str, days: int) -> tuple[bytes, bytes]:
        """Returns a new certificate and its key. A copy of the certificate is stored before it is returned."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(timezone.utc)
        other_usages = (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, user)]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCKS_DIFFER)
            .not_valid_after(min(now + timedelta(days=days), self.end))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, **dict.fromkeys(other_usages, False)), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        folder = self.folder / "issued"
        folder.mkdir(mode=0o700, exist_ok=True)
        write(folder / f"{user}-{certificate.serial_number:x}.pem", pem, 0o600)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return pem, key.private_bytes(*form)

    def write_list(self, before: Any, serials: list[int], days: int) -> None:
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - CLOCKS_DIFFER)
            .next_update(now + timedelta(days=days))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        )
        for entry in before or []:
            builder = builder.add_revoked_certificate(entry)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - CLOCKS_DIFFER).build()
            builder = builder.add_revoked_certificate(entry)
        write(self.list_path, builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o600)


class Folder:
    """The folder of files of one user."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.user = path.name

    def present(self, authority: Authority) -> Issued | None:
        """The certificate, if it is this CA's and for this user, and its key is there."""
        try:
            certificate = x509.load_pem_x509_certificate((self.path / CERTIFICATE).read_bytes())
            key: Any = serialization.load_pem_private_key((self.path / KEY).read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
            return None
        if key.public_key() != certificate.public_key() or not authority.signed(certificate):
            return None
        return issued_of(certificate) if user_of(certificate) == self.user else None

    def fill(self, certificate: bytes, key: bytes) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(self.path / KEY, key, 0o600)
        write(self.path / CERTIFICATE, certificate, 0o600)

    def wrong_modes(self) -> list[Path]:
        wanted = {self.path: 0o700} | {self.path / name: 0o600 for name in FILES}
        return [path for path, mode in wanted.items() if path.exists() and path.stat().st_mode & 0o7777 != mode]

    def pack(self, authority: Authority, encoding: str, given: str | None, check_mode: bool) -> bool:
        """Ensures that the PKCS#12 file contains the certificate, with this encryption and password."""
        password_path, path = self.path / PASSWORD, self.path / P12
        # What cannot be read cannot have been typed by anybody either: a new one takes its place.
        kept = password_path.read_text(encoding="ascii", errors="replace").strip() if password_path.exists() else ""
        kept = kept if kept.isascii() else ""
        password = given or kept
        certificate_pem = (self.path / CERTIFICATE).read_bytes()
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        if password and password == kept and path.exists():
            content = path.read_bytes()
            try:
                _key, there, _chain = pkcs12.load_key_and_certificates(content, password.encode())
            except ValueError:
                there = None
            if there == certificate and encoding_of(content) == encoding:
                return False
        if check_mode:
            return True
        password = password or new_password()
        key: Any = serialization.load_pem_private_key((self.path / KEY).read_bytes(), None)
        builder = serialization.PrivateFormat.PKCS12.encryption_builder()
        if encoding == "legacy":
            builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
        else:
            builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
        how = builder.kdf_rounds(20000).build(password.encode())
        name = f"slm.copilot {self.user}".encode()
        content = pkcs12.serialize_key_and_certificates(name, key, certificate, [authority.certificate], how)
        write(password_path, f"{password}\n".encode(), 0o600)
        write(path, content, 0o600)
        return True

    def used(self) -> bool:
        return any((self.path / name).exists() for name in FILES)

    def clear(self) -> None:
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()
