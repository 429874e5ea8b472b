# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file at an address."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse, InvalidURL

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import tls_context
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import request_parts, shown_url
from ansible_collections.slm.copilot.plugins.module_utils._model.download.transfer import (
    CHUNK,
    SECONDS_OF_SILENCE,
    Interrupted,
    Sink,
    raise_if_busy,
    status_text,
    unreachable_text,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import Offer, Wanted

CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class UrlSource:
    """A file at an address, with nothing but Python's standard library."""

    def __init__(self, wanted: Wanted) -> None:
        self._url, self._authorization = request_parts(str(wanted.url))
        self._shown = shown_url(str(wanted.url))
        self._has_sha256 = wanted.sha256 is not None
        self._context = tls_context(wanted.ca_path) if self._url.startswith("https:") else None

    def _open(self, headers: dict[str, str]) -> HTTPResponse:
        """:raises Interrupted: when there is no answer."""
        request = urllib.request.Request(
            self._url, headers={"User-Agent": "slm.copilot", "Accept-Encoding": "identity", **headers}
        )
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            handlers = [urllib.request.HTTPSHandler(context=self._context)] if self._context else []
            answer: HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=SECONDS_OF_SILENCE)
        except urllib.error.HTTPError as error:
            error.close()
            raise_if_busy(error.code, self._shown, error.headers.get("Retry-After"))
            raise CopilotError(status_text(error.code, self._shown)) from error
        except (ValueError, InvalidURL):  # its text would repeat the address
            raise CopilotError(f"{self._shown} leads to a URL that cannot be used: check the server's redirects.") from None
        except (OSError, HTTPException) as error:
            raise Interrupted(str(getattr(error, "reason", error))) from error
        return answer

    def offer(self) -> Offer:
        try:
            # Requests one byte, which also works where HEAD is not allowed.
            with self._open({"Range": "bytes=0-0"}) as answer:
                tag = answer.headers.get("ETag") or ""
                # A weak tag does not promise equal bytes.
                validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified")
                whole = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range") or "")
                length = whole[2] if whole else answer.headers.get("Content-Length") if answer.status == 200 else None
                return Offer(int(length) if length and length.isdigit() else None, etag=validator)
        except Interrupted as error:
            if error.busy:
                raise
            raise CopilotError(unreachable_text("The server", self._shown, str(error))) from error

    def fetch(self, sink: Sink, offer: Offer) -> None:
        if sink.size and sink.size == offer.size:
            return
        if not (offer.etag or self._has_sha256):
            sink.start_over()  # Nothing would show that the rest belongs to what came before.
        headers = {"Range": f"bytes={sink.size}-"} if sink.size else {}
        if sink.size and offer.etag:
            headers["If-Range"] = offer.etag
        with self._open(headers) as answer:
            part = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range") or "")
            if answer.status != 206 or not part or part[1] != str(sink.size):
                if answer.status == 206:
                    raise CopilotError(f"{self._shown} answered with a different range of bytes than requested.")
                sink.start_over()
            while True:
                try:
                    chunk = answer.read1(CHUNK)
                except (OSError, HTTPException) as error:
                    raise Interrupted(str(error)) from error
                if not chunk:
                    break
                sink.write(chunk)
            if answer.length:
                raise Interrupted(f"it ended {answer.length} bytes too early")
        if offer.size is not None and sink.size < offer.size:
            raise Interrupted(f"it ended at {sink.size} of {offer.size} bytes")
