# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A CA in a folder on the controller: its certificate ``ca.pem``, and its key ``ca-key.pem``, under a passphrase or not."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    MISSING = ""
except ImportError:  # pragma: no cover
    MISSING = traceback.format_exc()

CERTIFICATE = "ca.pem"
KEY = "ca-key.pem"
CLOCKS_DIFFER = timedelta(hours=1)


def opened(pem: bytes, passphrase: str) -> Any:
    """Decrypts a private key with this passphrase (empty: it is not encrypted). Returns None if that fails."""
    try:
        return serialization.load_pem_private_key(pem, passphrase.encode() or None)
    except (TypeError, ValueError):  # a passphrase too many or too few; a wrong one
        return None


def key_opens(path: str, *passphrases: str) -> bool:
    """Returns whether one of these passphrases decrypts the key of a CA; an empty one matches a key that is not encrypted.

    Raises CopilotError where the file cannot be read.
    """
    pem = _read(Path(path))
    return any(opened(pem, str(passphrase)) is not None for passphrase in passphrases)


def keep(folder: Path, name: str, days: int, passphrase: str, before: Iterable[str], act: bool = True) -> str:
    """Creates a CA if there is none, and ensures that its key is encrypted with the right passphrase.

    :param name: of the CA, its common name.
    :param days: how long its certificate is valid.
    :param before: passphrases that the key may be encrypted by until now. Empty: not encrypted.
    :param act: whether to write anything, into a folder that is there.

    Returns what was done, or would be: ``founded``, ``encrypted``, ``decrypted`` or nothing. Raises CopilotError.
    """
    founded = (folder / CERTIFICATE).exists()
    key, done = None, ""
    if (folder / KEY).exists():
        pem = _read(folder / KEY)
        key = opened(pem, passphrase)
        if key is None:
            key = next((one for one in (opened(pem, word) for word in before) if one is not None), None)
            done = "encrypted" if passphrase else "decrypted"
        if key is None:
            raise CopilotError(f"{folder / KEY} cannot be decrypted with the passphrase or the previous one; it was not changed")
    elif founded:
        raise CopilotError(f"{folder} holds the CA's certificate without its key, {KEY}; restore it from a backup")
    if act and (key is None or done):
        key = key or ec.generate_private_key(ec.SECP384R1())
        _write_key(folder / KEY, key, passphrase)
    if not founded:
        if act:
            write(folder / CERTIFICATE, _certificate(key, name, days), 0o644)
        return "founded"
    return done


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CopilotError(f"{path} cannot be read: {error.strerror}") from None


def _write_key(path: Path, key: Any, passphrase: str) -> None:
    how = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    if opened(pem, passphrase).private_numbers() != key.private_numbers():  # the only copy goes for it
        raise CopilotError(f"the new content of {path} is a different key; it was not changed")
    write(path, pem, 0o600, (os.geteuid(), os.getegid()))


def _certificate(key: Any, name: str, days: int) -> bytes:
    now = datetime.now(timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usages = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"),
        False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usages), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))
