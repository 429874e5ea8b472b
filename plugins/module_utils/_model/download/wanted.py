# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The request for a model file, the source's offer, and the record of the downloaded file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url, url_fault
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf

SHA256 = re.compile(r"[0-9a-f]{64}")
REPO = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
RECORD_FORMAT = 1


@dataclass(frozen=True)
class Wanted:
    """A request for a model file. Exactly one of ``repo``, ``url`` and ``src`` is set."""

    dest: str
    repo: str | None = None
    file: str | None = None
    revision: str = "main"
    endpoint: str | None = None
    url: str | None = None
    src: str | None = None
    src_size: int = 0
    src_mtime_ns: int = 0
    sha256: str | None = None
    token: str | None = None
    ca_path: str | None = None
    min_free: int = 0
    lock_timeout: int = 3600
    verify_gguf: bool = True

    @property
    def partial(self) -> str:
        return f"{self.dest}.partial"

    @property
    def record(self) -> str:
        return f"{self.dest}.json"


@dataclass(frozen=True)
class Offer:
    """The source's description of the file, before the download."""

    size: int | None
    sha256: str | None = None
    etag: str | None = None
    revision: str | None = None


def check_wanted(wanted: Wanted) -> None:
    """Refuses invalid requests, before anything is changed.

    :raises CopilotError: when a parameter makes no sense.
    """
    if not os.path.isabs(wanted.dest) or wanted.dest.endswith("/"):
        raise CopilotError(f"dest is {wanted.dest!r}: give the absolute path of the model file, not of a directory.")
    if wanted.sha256 is not None and not SHA256.fullmatch(wanted.sha256):
        raise CopilotError(
            f"sha256 has {len(wanted.sha256)} characters and is no checksum: give the 64 hexadecimal digits that "
            "sha256sum prints."
        )
    if wanted.repo is not None and not REPO.fullmatch(wanted.repo):
        raise CopilotError(f"repo is {wanted.repo!r}: give owner/name, as the hub's address of the model shows it.")
    if wanted.file is not None and (wanted.file.startswith("/") or ".." in wanted.file.split("/")):
        raise CopilotError(f"file is {wanted.file!r}: give the path of a file inside the repository.")
    if fault := _gguf.part_fault(wanted.file or shown_url(wanted.url or "") or wanted.src or ""):
        raise CopilotError(f"{os.path.basename(wanted.file or shown_url(wanted.url or '') or wanted.src or '')}: {fault}.")
    if wanted.url is not None and (fault := url_fault(wanted.url)):
        raise CopilotError(f"url has {len(wanted.url)} characters, and {fault}. Give an http:// or https:// address.")
    if wanted.endpoint is not None:
        fault = url_fault(wanted.endpoint)
        if not fault and shown_url(wanted.endpoint) != wanted.endpoint:
            fault = "it has a user, a query or a fragment: give it as token or token_file"
        if fault:
            raise CopilotError(
                f"endpoint has {len(wanted.endpoint)} characters, and {fault}. Give the http(s):// address of a hub."
            )


def identity(wanted: Wanted) -> dict[str, Any]:
    """Returns what a request is known by later: where the bytes come from, and nothing secret."""
    if wanted.repo:
        return {"source": "hub", "repo": wanted.repo, "file": wanted.file, "requested_revision": wanted.revision}
    if wanted.url:
        url_sha256 = hashlib.sha256(wanted.url.encode()).hexdigest()
        return {"source": "url", "url": shown_url(wanted.url), "url_sha256": url_sha256}
    # The same file may lie elsewhere on another controller.
    return {"source": "src", "src_size": wanted.src_size, "src_mtime_ns": wanted.src_mtime_ns}


def is_what_is_wanted(record: dict[str, Any], wanted: Wanted) -> bool:
    """Tells whether a recorded file answers a request. A checksum in the request decides alone."""
    if wanted.sha256:
        return bool(record.get("sha256") == wanted.sha256)
    asked = identity(wanted)
    if asked["source"] == "hub" and record.get("revision") == wanted.revision:
        asked["requested_revision"] = record.get("requested_revision")  # The commit itself was asked for.
    return asked.items() <= record.items()


def read_json(path: str) -> dict[str, Any]:
    """Returns the mapping in a file; an empty one when there is none, or nonsense."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: str, content: dict[str, Any]) -> None:
    write(path, json.dumps(content, indent=2, sort_keys=True) + "\n", 0o644)


def recorded(wanted: Wanted) -> dict[str, Any] | None:
    """Returns the record of the file at ``dest`` when the file is unchanged since and is what is wanted.

    Looks at size and modification time only, and needs no network.
    """
    record = read_json(wanted.record)
    try:
        stat = os.stat(wanted.dest)
    except OSError:
        return None
    unchanged = (record.get("format"), record.get("size"), record.get("mtime_ns")) == (
        RECORD_FORMAT,
        stat.st_size,
        stat.st_mtime_ns,
    )
    if not unchanged or not is_what_is_wanted(record, wanted):
        return None
    if wanted.verify_gguf and not record.get("gguf"):
        return None
    return record
