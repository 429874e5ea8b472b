# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All files for all developers, and the archives that they get."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._clients.pi import pi_extension
from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import (
    CERTIFICATE,
    CERTIFICATE_KEY,
    FOLDER,
    Access,
    Certificate,
    Endpoint,
    Model,
    client_settings,
)
from ansible_collections.slm.copilot.plugins.module_utils._clients.readme import overview, readme
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.names import FOLDER_NAME, OFFERED_MODEL

_NAME_FORM = "letters, digits, dots, dashes and underscores"
LEAST_CONTEXT = 256
_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]+/v1")


@dataclass(frozen=True)
class Offer:
    """An endpoint, and the key of each developer who may use it."""

    endpoint: Endpoint
    keys: Mapping[str, str]


def parse_models(entries: Sequence[Mapping[str, Any]], where: str) -> tuple[Model, ...]:
    """Returns the models of an endpoint: ``name``, ``context_size``, ``fim_only``; what else an entry has is not looked at.

    :param where: what the endpoint is called in an error.
    :raises CopilotError: when they cannot be used.
    """
    if not entries:
        raise CopilotError(f"{where}.models is empty: give one model or more.")
    models: list[Model] = []
    for number, entry in enumerate(entries):
        here = f"{where}.models[{number}]"
        name, context = str(entry.get("name", "")), entry.get("context_size")
        if not OFFERED_MODEL.fullmatch(name):
            raise CopilotError(f"{here}.name is {name!r}: give letters, digits, dots, dashes, underscores, colons and slashes.")
        if name in [model.name for model in models]:
            raise CopilotError(f"{here}.name is {name!r}, which an earlier model has too: name each once.")
        if not isinstance(context, int) or context < LEAST_CONTEXT:
            raise CopilotError(f"{here}.context_size is {context!r}: give the tokens of a conversation, {LEAST_CONTEXT} or more.")
        models.append(Model(name, context, entry.get("fim_only") is True))
    return tuple(models)


def parse_offers(entries: Sequence[Mapping[str, Any]]) -> list[Offer]:
    """Returns the endpoints that a playbook describes: ``name``, ``url``, ``models``, ``users`` and ``keys``.

    :raises CopilotError: when one cannot be used, in words that do not show a key.
    """
    offers: list[Offer] = []
    for number, entry in enumerate(entries):
        where = f"endpoints[{number}]"
        endpoint = Endpoint(entry["name"], entry["url"], parse_models(entry["models"], where))
        for option, value, rule, form in (
            ("name", endpoint.name, FOLDER_NAME, f"{_NAME_FORM}, as it names a folder"),
            ("url", endpoint.url, _URL, "https://host:port/v1"),
        ):
            if not rule.fullmatch(value):
                raise CopilotError(f"{where}.{option} is {value!r}: give {form}.")
        if endpoint.name in [offer.endpoint.name for offer in offers]:
            raise CopilotError(f"{where}.name is {endpoint.name!r}, which an earlier endpoint has too: give each its own.")
        for user in entry["users"]:
            if not FOLDER_NAME.fullmatch(user):
                raise CopilotError(f"{where}.users has {user!r}: give {_NAME_FORM}.")
        without = [user for user in entry["users"] if not entry["keys"].get(user)]
        if without:
            raise CopilotError(
                f"{endpoint.name} has no key for {', '.join(without)} yet: run the playbook slm.copilot.site first."
            )
        offers.append(Offer(endpoint, {user: entry["keys"][user] for user in entry["users"]}))
    return offers


def users_of(offers: Sequence[Offer]) -> list[str]:
    return list(dict.fromkeys(user for offer in offers for user in offer.keys))


def wanted_files(
    offers: Sequence[Offer], ca: str, mtls: str, certificates: Mapping[str, Mapping[str, bytes]]
) -> dict[str, bytes]:
    """Returns the content of all files for all developers, by ``<user>/<path>``, with an archive for each developer.

    :param certificates: the developers' files of :data:`CERTIFICATE_FILES`, by user and name; they go into the archives.
    """
    wanted: dict[str, bytes] = {}
    for user in users_of(offers):
        theirs = certificates.get(user, {})
        certificate = None
        if mtls != "off":
            try:
                certificate = Certificate(theirs[CERTIFICATE].decode(), theirs[CERTIFICATE_KEY].decode())
            except KeyError as error:
                raise CopilotError(
                    f"{user} has no {error.args[0]} yet, and mtls is {mtls}: run the role slm.copilot.client_certificates first, "
                    "or put the developer's certificate and key there."
                ) from None
        allowed = [offer for offer in offers if user in offer.keys]
        accesses = [
            Access(offer.endpoint, offer.keys[user], ca, mtls, certificate, offer.endpoint.name if len(allowed) > 1 else "")
            for offer in allowed
        ]
        files = {name: content.encode() for name, content in user_files(user, accesses).items()}
        wanted.update((f"{user}/{name}", content) for name, content in files.items())
        packed = {**files, **theirs} if mtls != "off" else files
        wanted[f"{user}/{archive_name(user)}"] = archive(packed)
    return wanted


def archive_name(user: str) -> str:
    return f"{FOLDER}-{user}.tar.gz"


def user_files(user: str, accesses: Sequence[Access]) -> dict[str, str]:
    """Returns the content of a developer's files by their path below :data:`FOLDER`.

    Where there is one endpoint, its files lie right there; of several, each has a folder of its own.
    """
    files: dict[str, str] = {}
    for access in accesses:
        prefix = f"{access.subfolder}/" if access.subfolder else ""
        files.update((prefix + name, content) for name, content in access_files(user, access).items())
        if access.ca:
            files["ca.pem"] = access.ca
    if len(accesses) > 1:
        files["README.md"] = overview(user, accesses)
    return files


def access_files(user: str, access: Access) -> dict[str, str]:
    """Returns the content of the files for one endpoint, by their path in its folder."""
    files = {"README.md": readme(user, access), "api-key": f"{access.key}\n", **client_settings(access)}
    if access.endpoint.chat_models:
        files["pi/slm-copilot.ts"] = pi_extension(access)
    return files


def archive(files: Mapping[str, bytes]) -> bytes:
    """Packs files into a ``tar.gz`` that unpacks to :data:`FOLDER`; the same files give the same bytes."""
    directories = {FOLDER}
    for name in files:
        parts = name.split("/")[:-1]
        directories.update("/".join([FOLDER, *parts[: depth + 1]]) for depth in range(len(parts)))
    raw = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for directory in sorted(directories):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return raw.getvalue()
