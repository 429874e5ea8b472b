# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which client certificates to issue and to revoke, and when to renew the revocation list."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.names import USER_NAME

# A part of a file name, and a common name, which has 64 characters at most.
MIN_PASSWORD = 12
# The object identifiers of the two ways in which a PKCS#12 file encrypts a key, as they stand in the file.
ENCODINGS = {
    "modern": bytes.fromhex("06092a864886f70d01050d"),  # PBES2, with AES-256
    "legacy": bytes.fromhex("060a2a864886f70d010c0103"),  # PBE with SHA-1 and 3DES, all that older stores read
}
# Neither 0 and O nor 1, I and l: people type it.
ALPHABET = "".join(sorted(set(string.ascii_letters + string.digits) - set("0O1Il")))


@dataclass(frozen=True)
class Issued:
    """A certificate that the CA has signed."""

    user: str
    serial: int
    not_after: datetime


@dataclass
class Plan:
    """Certificates to issue by user, with the reason, and certificates to revoke by user."""

    issue: dict[str, str] = field(default_factory=dict)
    revoke: dict[str, list[int]] = field(default_factory=dict)


def check_request(users: Iterable[str], days: int, renew_before_days: int, password: str | None) -> None:
    """Refuses invalid options.

    :param password: for PKCS#12, or None to have one generated for each user.
    """
    seen: set[str] = set()
    for user in users:
        if not USER_NAME.fullmatch(user):
            raise CopilotError(f"users has {user!r}: use 1 to 64 lower-case letters, digits, dots, dashes and underscores")
        if user in seen:
            raise CopilotError(f"users has {user!r} twice: name each once")
        seen.add(user)
    if not 0 < renew_before_days < days:
        raise CopilotError(
            f"days is {days} and renew_before_days is {renew_before_days}: a certificate must be valid for longer than that, "
            "or each run would renew it"
        )
    if password is not None and (len(password) < MIN_PASSWORD or not password.isascii() or not password.isprintable()):
        raise CopilotError(
            f"pkcs12_password has {len(password)} characters: use at least {MIN_PASSWORD} printable ASCII ones, or leave it out "
            "to have one generated for each user"
        )


def make_plan(
    users: Iterable[str],
    issued: Iterable[Issued],
    revoked: Iterable[int],
    present: Mapping[str, Issued],
    renew_before_days: int,
    ca_end: datetime,
    now: datetime,
) -> Plan:
    """Returns what to do so that exactly the given users have a valid certificate.

    A certificate that is renewed stays valid until its end, so that its owner can change over.

    :param issued: every certificate that the CA has signed.
    :param revoked: serial numbers that are revoked already.
    :param present: the certificate in each user's folder, where it is whole and has its key.
    :param ca_end: expiry of the CA. Reissuing a certificate that is valid for as long would not extend it.
    """
    wanted = list(users)
    gone = set(revoked)
    plan = Plan()
    for user in wanted:
        certificate = present.get(user)
        if certificate is None:
            plan.issue[user] = "there is none"
        elif certificate.serial in gone:
            plan.issue[user] = "the one that is there is revoked"
        elif certificate.not_after < min(now + timedelta(days=renew_before_days), ca_end):
            plan.issue[user] = f"the one that is there ends on {certificate.not_after:%Y-%m-%d}"
    for certificate in sorted(issued, key=lambda one: (one.user, one.serial)):
        if certificate.user not in wanted and certificate.serial not in gone and certificate.not_after > now:
            plan.revoke.setdefault(certificate.user, []).append(certificate.serial)
    return plan


def list_reason(end: datetime | None, same_ca: bool, more: int, renew_before_days: int, now: datetime) -> str:
    """Returns why the revocation list must be renewed; empty if it need not be.

    :param end: when the list that is there ends, or None.
    :param more: how many certificates are to be added.
    """
    if end is None:
        return "there is none"
    if not same_ca:
        return "another CA signed it"
    if more:
        return "certificates are revoked"
    if end < now + timedelta(days=renew_before_days):
        return f"it ends on {end:%Y-%m-%d}"
    return ""


def encoding_of(pkcs12: bytes) -> str:
    """Returns how a PKCS#12 file is encoded, or an empty string for another way."""
    return next((name for name, identifier in ENCODINGS.items() if identifier in pkcs12), "")


def new_password() -> str:
    """Returns a password of 140 bits, in groups that can be read out."""
    return "-".join("".join(secrets.choice(ALPHABET) for _place in range(6)) for _group in range(4))
