# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which names a certificate needs, and whether the current one is still good.

Certificates come as the dictionaries that ``community.crypto.x509_certificate_info`` returns; times are in UTC.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.names import CERTIFICATE_HOST_NAME

CLIENT = "TLS Web Client Authentication"  # as OpenSSL calls it
# Parts of certbot's output that vary, or are not part of the reason.
CHANCE = re.compile(r"(?<=/\.well-known/acme-challenge/)[\w-]+|<[^<>]* object at 0x[0-9a-f]+>:? ?")
CERTBOT_CHATTER = (
    "Saving debug log",
    "Ask for help",
    "Requesting a certificate",
    "Account registered",
    "Some challenges",
    "- - -",
)
# Of the kernel's flags for an address: temporary, duplicate, deprecated, tentative.
PASSING = 0x01 | 0x08 | 0x20 | 0x40
ASN1_TIME = "%Y%m%d%H%M%SZ"


def host_fault(host: str) -> str:
    """Returns why no certificate can cover this name or address; empty if one can."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if CERTIFICATE_HOST_NAME.fullmatch(host):
            return ""
        return "it is neither an address nor a name of letters, digits, dashes and dots"
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return "it is an address that other machines cannot connect to"
    return "it is an address of this machine alone" if address.is_loopback and host != "127.0.0.1" else ""


def subject_names(candidates: Iterable[str | None]) -> list[str]:
    """Returns the subject alternative names for the names and addresses of a host, sorted.

    What can be neither a host name nor an address, or is an address that nobody else can reach, is left out:
    inventory names may be anything.

    :param candidates: names and addresses, with repetitions and gaps.
    """
    names = {"DNS:localhost", "IP:127.0.0.1"}
    for candidate in candidates:
        if not candidate or host_fault(candidate):
            continue
        try:
            names.add(f"IP:{ipaddress.ip_address(candidate).compressed}")
        except ValueError:
            names.add(f"DNS:{candidate.lower()}")
    return sorted(names)


def stable_ipv6(table: str) -> list[str]:
    """Returns the global addresses, among them unique local ones, that a host keeps.

    :param table: the content of ``/proc/net/if_inet6``. ``ip`` tells the same, and is not on every host.
    """
    rows = [line.split() for line in table.splitlines()]
    return sorted(
        ipaddress.IPv6Address(int(address, 16)).compressed
        for address, _index, _length, scope, flags, _name in rows
        if int(scope, 16) == 0 and not int(flags, 16) & PASSING
    )


def covers(names: Iterable[str], host: str) -> bool:
    """Tells whether a client that connects to ``host`` accepts a certificate with these subject alternative names."""
    wanted = host.lower()
    try:
        return f"IP:{ipaddress.ip_address(host).compressed}" in names
    except ValueError:
        parent = f"*.{wanted.partition('.')[2]}"
        return any(name.lower() in (f"dns:{wanted}", f"dns:{parent}") for name in names)


def end(certificate: Mapping[str, Any]) -> datetime:
    """Returns when a certificate expires."""
    return datetime.strptime(certificate["not_after"], ASN1_TIME).replace(tzinfo=timezone.utc)


def reissue_reason(
    certificate: Mapping[str, Any],
    names: Iterable[str],
    key_fits: bool,
    ca_key_identifier: str,
    renew_before_days: int,
    client: bool = False,
    *,
    now: datetime | None = None,
) -> str:
    """Returns why a certificate must be reissued; empty if it is good.

    A name that the certificate has and the host no longer has is no reason.

    :param certificate: the one that is there, or an empty mapping.
    :param names: what :func:`subject_names` returned for the host.
    :param key_fits: whether the host has the certificate's key.
    :param ca_key_identifier: subject key identifier of the fleet CA.
    :param client: whether the host proves by it who it is when it calls others, too.
    """
    if not certificate:
        return "there is none"
    now = now or datetime.now(timezone.utc)
    missing = sorted(set(names) - set(certificate.get("subject_alt_name") or []))
    if not key_fits:
        return "it is for another key"
    if certificate.get("authority_key_identifier") != ca_key_identifier:
        return "another CA signed it"
    if end(certificate) < now + timedelta(days=renew_before_days):
        return f"it ends on {end(certificate):%Y-%m-%d}"
    if missing:
        return f"it lacks {', '.join(missing)}"
    if client != (CLIENT in (certificate.get("extended_key_usage") or [])):
        return "the host is one of several balancers now" if client else "the host is not one of several balancers any more"
    return ""


def acme_failure(output: str) -> str:
    """Returns what certbot says went wrong, as one sentence or a few, the same each time that the same goes wrong.

    :param output: all that it printed.
    """
    lines = [CHANCE.sub("", line).strip() for line in output.splitlines()]
    details = [f"{line.partition(':')[2].strip().rstrip('.')}." for line in lines if line.startswith("Detail:")]
    if details:
        return " ".join(dict.fromkeys(details))
    said = [line for line in lines if line and not line.startswith(CERTBOT_CHATTER)]
    if "An unexpected error occurred:" in said:
        said = said[said.index("An unexpected error occurred:") + 1 :][:1]
    return f"{said[-1].rstrip('.')}." if said else "certbot does not say why."


def provided_problems(
    certificate: Mapping[str, Any], key_fingerprint: str, host: str, *, now: datetime | None = None
) -> list[str]:
    """Returns the problems of a provided certificate, one sentence each.

    :param host: the name or address that clients connect to.
    """
    now = now or datetime.now(timezone.utc)
    names = certificate.get("subject_alt_name") or []
    problems = []
    if certificate["public_key_fingerprints"]["sha256"] != key_fingerprint:
        problems.append("the key in tls_provided_key does not belong to it: give the key it was requested with.")
    if end(certificate) <= now:
        problems.append(f"it ended on {end(certificate):%Y-%m-%d}: give one that is valid.")
    if not covers(names, host):
        problems.append(
            f"it is for {', '.join(names) or 'no name at all'}, but clients connect to {host}: set copilot_endpoint_host "
            "to a name that it has, or give a certificate that has this one."
        )
    return problems
