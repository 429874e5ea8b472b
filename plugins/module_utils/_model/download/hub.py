# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file in a model repository of the hub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import tls_context
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url
from ansible_collections.slm.copilot.plugins.module_utils._model.download.transfer import (
    CHUNK,
    SECONDS_OF_SILENCE,
    Interrupted,
    Sink,
    raise_if_busy,
    status_text,
    unreachable_text,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import SHA256, Offer, Wanted


class HubSource:
    """A file in a model repository of the hub, by the hub's own client."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._set_environment()
        try:
            # Not at the top: only who fetches from a hub needs it, and its settings are read when it is imported.
            self._hub = import_module("huggingface_hub")
            self._errors = import_module("huggingface_hub.errors")
            self._http_get = import_module("huggingface_hub.file_download").http_get
            self._transport_error = import_module("httpx2").TransportError
            constants: Any = import_module("huggingface_hub.constants")
            utils = import_module("huggingface_hub.utils")
        except ImportError as error:
            raise CopilotError(
                f"repo: fetching from the hub needs huggingface_hub, and this Python lacks it ({error}). Use the role "
                "model_fetch, which brings it, or set ansible_python_interpreter to a Python that has it."
            ) from error
        # Less at a time, so that progress is visible and little is lost on a slow line.
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK // 4
        self._endpoint = (wanted.endpoint or constants.ENDPOINT).rstrip("/")
        self._headers = utils.build_hf_headers(
            token=wanted.token or False, headers={"user-agent": "slm.copilot", "Accept-Encoding": "identity"}
        )
        self._url = ""

    def _set_environment(self) -> None:
        """Sets the environment that the client reads when it is imported."""
        os.environ["HF_HUB_DISABLE_XET"] = "1"  # One way to fetch, which can resume.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = str(SECONDS_OF_SILENCE)
        os.environ["HF_HUB_ETAG_TIMEOUT"] = str(SECONDS_OF_SILENCE)
        if self._wanted.ca_path:
            tls_context(self._wanted.ca_path)  # Raises a clear error if it cannot be used.
            name = "SSL_CERT_DIR" if os.path.isdir(self._wanted.ca_path) else "SSL_CERT_FILE"
            os.environ.pop("SSL_CERT_FILE", None)
            os.environ[name] = self._wanted.ca_path

    def offer(self) -> Offer:
        with self._explained():
            metadata = self._hub.get_hf_file_metadata(self._file_url(self._wanted.revision), headers=self._headers)
        if not metadata.commit_hash:
            raise CopilotError(f"{shown_url(self._endpoint)} answers, but not as a model hub does: check endpoint (HF_ENDPOINT).")
        # From here on the commit is meant, also when the branch moves on meanwhile.
        self._url = self._file_url(metadata.commit_hash)
        etag = metadata.etag or ""
        return Offer(metadata.size, etag if SHA256.fullmatch(etag) else None, etag or None, metadata.commit_hash)

    def fetch(self, sink: Sink, offer: Offer) -> None:
        if sink.size and sink.size == offer.size:
            return
        try:
            with self._explained():
                # Always from the hub itself: it redirects to an address that is valid now.
                self._http_get(self._url, sink, resume_size=sink.size, headers=self._headers)
        except self._transport_error as error:
            raise Interrupted(str(error)) from error

    def _file_url(self, revision: str) -> str:
        wanted = self._wanted
        return str(self._hub.hf_hub_url(wanted.repo, wanted.file, revision=revision, endpoint=self._endpoint))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the hub's errors into messages. Passes on an interruption of a running transfer."""
        repo, file, revision = self._wanted.repo, self._wanted.file, self._wanted.revision
        endpoint = shown_url(self._endpoint)
        try:
            yield
        except self._errors.GatedRepoError as error:
            advice = (
                "the token may not read it; accept the model's conditions on the hub with the token's account"
                if self._wanted.token
                else "accept its conditions on the hub and give a token (token_file, or HF_TOKEN in the environment)"
            )
            raise CopilotError(f"Not authorised: repo {repo} is gated: {advice}.") from error
        except self._errors.RepositoryNotFoundError as error:
            raise CopilotError(
                f"Not found: {endpoint} has no repo {repo}, or it is private and the token "
                f"({'given' if self._wanted.token else 'none given'}) may not read it. Check repo and token_file."
            ) from error
        except self._errors.RevisionNotFoundError as error:
            raise CopilotError(f"Not found: repo {repo} has no revision {revision!r}: check revision.") from error
        except self._errors.RemoteEntryNotFoundError as error:
            raise CopilotError(f"Not found: repo {repo} has no file {file!r} at revision {revision!r}: check file.") from error
        except self._errors.HfHubHTTPError as error:
            raise_if_busy(error.response.status_code, f"{endpoint} (repo {repo})", error.response.headers.get("Retry-After"))
            raise CopilotError(status_text(error.response.status_code, f"{endpoint} (repo {repo})")) from error
        except self._errors.HFValidationError as error:
            raise CopilotError(f"repo is {repo!r}, which the hub's client refuses: {error}") from error
        except self._errors.OfflineModeIsEnabled as error:
            raise CopilotError("The hub is not reachable: HF_HUB_OFFLINE is set on this host. Unset it.") from error
        except self._transport_error as error:
            if self._url:
                raise
            raise CopilotError(unreachable_text("The hub", endpoint, str(error))) from error
