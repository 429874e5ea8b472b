# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gets one model file onto this host, whole and verified, or leaves what was there.

Beside the file ``dest`` lie ``dest.json`` (what it is, so that it need not be hashed again),
``dest.lock`` (one run at a time) and, until it is complete, ``dest.partial`` with
``dest.partial.json`` (what it will be, so that a later run knows whether it may go on with it).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, InvalidURL
from importlib import import_module
from typing import Any, TypeVar

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sync_folder, write
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import request_parts, shown_url, url_fault
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf

CHUNK = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")
REPO = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
ATTEMPTS_WITHOUT_PROGRESS = 5
# A server that says so is waited for, a few minutes at least: a fleet's hosts all ask at once.
BUSY = (408, 429, 500, 502, 503, 504)
ATTEMPTS_WHILE_BUSY = 8
LONGEST_PAUSE = 600
SECONDS_OF_SILENCE = 30
RECORD_FORMAT = 1
RUN_AGAIN = "Run again: it goes on where it stopped."


class Interrupted(Exception):
    """The connection was cut, or the server has no time; what has arrived so far is good."""

    def __init__(self, reason: str, busy: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.busy = busy  # The server answered, and will have time later.
        self.pause = pause  # How many seconds it asked to wait.


@dataclass(frozen=True)
class Wanted:
    """What somebody asks for. Exactly one of ``repo``, ``url`` and ``src`` is set."""

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
    """What the source says about the file, before any of it is fetched."""

    size: int | None
    sha256: str | None = None
    etag: str | None = None
    revision: str | None = None


def check_wanted(wanted: Wanted) -> None:
    """Refuses what cannot work, before anything is touched.

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


def partial_size(wanted: Wanted) -> int:
    try:
        return os.path.getsize(wanted.partial)
    except OSError:
        return 0


def check_space(wanted: Wanted, needed: int) -> None:
    """Refuses a download that would not leave ``min_free`` bytes on the file system.

    :raises CopilotError: with the figures.
    """
    directory = os.path.dirname(wanted.dest)
    free = shutil.disk_usage(directory).free
    if needed + wanted.min_free > free:
        raise CopilotError(
            f"The disk is too small for {wanted.dest}: {needed / 1e9:.2f} GB are still to come, and "
            f"{wanted.min_free / 1e9:.2f} GB (min_free_mib) must stay free, but {directory} has {free / 1e9:.2f} GB. "
            "Free some space, or put the models elsewhere."
        )


@contextlib.contextmanager
def only_run(wanted: Wanted, progress: ProgressFile) -> Iterator[None]:
    """Holds the lock of ``dest``. Waits for another run, and shows how far that one is.

    :raises CopilotError: when the other run takes longer than ``lock_timeout``, or the directory is not there.
    """
    try:
        lock = os.open(f"{wanted.dest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CopilotError(
            f"dest: cannot write to {os.path.dirname(wanted.dest)} ({error.strerror}): make the directory first."
        ) from error
    try:
        deadline = time.monotonic() + wanted.lock_timeout
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise CopilotError(
                        f"Another run is still fetching {wanted.dest} after {wanted.lock_timeout} seconds "
                        "(lock_timeout): wait for it, or end it, and run again."
                    ) from None
                total = read_json(f"{wanted.partial}.json").get("size")
                progress.update("waiting for another run that fetches it", partial_size(wanted), total, "bytes")
                time.sleep(0.5)
        yield
    finally:
        os.close(lock)


def hash_file(path: str, progress: ProgressFile, phase: str = "verifying") -> str:
    digest = hashlib.sha256()
    total = os.path.getsize(path)
    done = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress.update(phase, done, total, "bytes")
    return digest.hexdigest()


class Sink:
    """The partial file: takes bytes, hashes and counts them.

    It begins with what an earlier run left, and has as much of a file object as
    huggingface_hub's ``http_get`` uses.
    """

    def __init__(self, path: str, total: int | None, progress: ProgressFile) -> None:
        self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
        self._digest = hashlib.sha256()
        self._total = total
        self._progress = progress
        self.size = self._file.tell()
        with open(path, "rb") as earlier:
            done = 0
            while chunk := earlier.read(CHUNK):
                self._digest.update(chunk)
                done += len(chunk)
                progress.update("reading what an earlier run left", done, self.size, "bytes")
        self.resumed_from = self.size
        progress.update("downloading", self.size, total, "bytes")

    def write(self, chunk: bytes) -> int:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        self._progress.update("downloading", self.size, self._total, "bytes")
        return len(chunk)

    def tell(self) -> int:
        return self.size

    def seek(self, offset: int) -> int:
        if offset not in (0, self.size):
            raise ValueError(f"a download cannot go to byte {offset}")
        if offset == 0:
            self.start_over()
        return offset

    def truncate(self) -> int:
        return self.size

    def start_over(self) -> None:
        """Throws away what is there: the source has other bytes now, or cannot serve the rest alone."""
        self._file.seek(0)
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = self.resumed_from = 0

    def close(self) -> str:
        """Brings everything to the disk. Returns the checksum of all bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


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
        """Sets what the client reads when it is imported."""
        os.environ["HF_HUB_DISABLE_XET"] = "1"  # One way to fetch, which can resume.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = str(SECONDS_OF_SILENCE)
        os.environ["HF_HUB_ETAG_TIMEOUT"] = str(SECONDS_OF_SILENCE)
        if self._wanted.ca_path:
            tls_context(self._wanted.ca_path)  # Says so in words when it cannot be used.
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
        """Puts the hub's errors into words. Lets a cut of a running transfer through."""
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
            raise CopilotError(
                f"{self._shown} leads to an address that cannot be used: look at what the server redirects to."
            ) from None
        except (OSError, HTTPException) as error:
            raise Interrupted(str(getattr(error, "reason", error))) from error
        return answer

    def offer(self) -> Offer:
        try:
            # One byte says it all, and works where HEAD is not allowed.
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
                    raise CopilotError(f"{self._shown} answered with another range of bytes than it was asked for.")
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


def tls_context(ca_path: str | None) -> ssl.SSLContext:
    """Returns a context that verifies, against ``ca_path`` when it is given, else as the system does."""
    try:
        if ca_path is None:
            return ssl.create_default_context()
        if os.path.isdir(ca_path):
            return ssl.create_default_context(capath=ca_path)
        return ssl.create_default_context(cafile=ca_path)
    except (OSError, ssl.SSLError) as error:
        raise CopilotError(
            f"ca_path (or SSL_CERT_FILE, REQUESTS_CA_BUNDLE) is {ca_path}: it cannot be used ({error}). "
            "Give a file with CA certificates in PEM."
        ) from error


def status_text(status: int, where: str) -> str:
    if status in (401, 403):
        return f"Not authorised: {where} answered {status}. Check the token (token_file), or who may read there."
    if status in (404, 410):
        return f"Not found: {where} answered {status}. Check the address."
    return f"{where} answered {status}: try again later."


def unreachable_text(what: str, where: str, reason: str) -> str:
    advice = (
        "give the CA that signed its certificate (ca_path)"
        if "CERTIFICATE_VERIFY_FAILED" in reason
        else "check the address, the network and the proxy of this host"
    )
    return f"{what} is not reachable: {where}: {reason}. Then {advice}."


def hash_mismatch_text(wanted: Wanted, expected: str, got: str) -> str:
    return (
        f"The checksum of {wanted.dest} does not match: sha256 {expected} was expected, and {got} came. The bytes are "
        "thrown away. Either sha256 is that of another file, or somebody changed the file on its way."
    )


def raise_if_busy(status: int, where: str, retry_after: str | None) -> None:
    """:raises Interrupted: for an answer that will be another one later, with how long the server asked to wait."""
    if status not in BUSY:
        return
    pause = None
    if retry_after and retry_after.strip().isdigit():
        pause = float(retry_after)
    elif retry_after:
        with contextlib.suppress(ValueError):
            pause = max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    raise Interrupted(f"{where} answered {status}", True, pause)


def seconds_to_wait(failures: int, error: Interrupted) -> float:
    """Returns how long to wait after so many failures in a row."""
    if not error.busy:
        return float(min(2**failures, 8))
    seconds = float(min(2**failures if error.pause is None else error.pause, LONGEST_PAUSE))
    return seconds + secrets.randbelow(1000) / 1000 * max(1, seconds / 4)  # not all hosts at once again


Result = TypeVar("Result")


def patiently(
    step: Callable[[], Result], done: Callable[[], int], gave_up: Callable[[Interrupted], str], progress: ProgressFile
) -> Result:
    """Does a step until it works. Tries again after an interruption, unless nothing came several times in a row.

    :param done: returns how many bytes have come.
    :param gave_up: returns the text of the error.
    :raises CopilotError: when it gives up.
    """
    failures = 0
    while True:
        before = done()
        try:
            return step()
        except Interrupted as error:
            failures = 0 if done() > before else failures + 1
            if failures >= (ATTEMPTS_WHILE_BUSY if error.busy else ATTEMPTS_WITHOUT_PROGRESS):
                raise CopilotError(gave_up(error)) from error
            if error.busy:
                progress.update("waiting for the server, which has no time now", done(), None, "bytes")
            time.sleep(seconds_to_wait(failures, error))


def transfer(fetch_rest: Callable[[Sink, Offer], None], sink: Sink, offer: Offer, progress: ProgressFile) -> None:
    """Fetches until all is there.

    :raises CopilotError: when it gives up; what came stays for the next run.
    """

    def gave_up(error: Interrupted) -> str:
        total = "" if offer.size is None else f" of {offer.size}"
        return f"The connection was cut at {sink.size}{total} bytes and did not come back: {error}. {RUN_AGAIN}"

    patiently(lambda: fetch_rest(sink, offer), lambda: sink.size, gave_up, progress)


class Download:
    """Everything that a run does while it holds the lock."""

    def __init__(self, wanted: Wanted, progress: ProgressFile) -> None:
        self.wanted = wanted
        self.progress = progress
        self._hash_of_dest: str | None = None

    def run(self) -> dict[str, Any]:
        """Returns the record of the file, and what was done.

        :raises CopilotError: when the file cannot be had; what was at ``dest`` is untouched then.
        """
        wanted = self.wanted
        record = recorded(wanted)
        if record:
            if wanted.src:  # So that the next run knows this file without its checksum.
                record = {**record, **identity(wanted)}
                write_json(wanted.record, record)
            return {**record, "changed": False, "msg": "already there", "resumed_from": 0}
        if wanted.sha256 and self._dest_is(wanted.sha256, None):
            return self._adopt(wanted.sha256, Offer(None))
        if wanted.src:
            return self._receive()
        source: HubSource | UrlSource = HubSource(wanted) if wanted.repo else UrlSource(wanted)
        offer = patiently(source.offer, lambda: 0, lambda error: f"{error}, again and again: try again later.", self.progress)
        if wanted.sha256 and offer.sha256 and wanted.sha256 != offer.sha256:
            raise CopilotError(
                f"The checksum of {wanted.file} in repo {wanted.repo} does not match: sha256 {wanted.sha256} was "
                f"expected, and the hub has {offer.sha256}. Check sha256 and revision. Nothing was fetched."
            )
        expected = wanted.sha256 or offer.sha256
        if expected and self._dest_is(expected, offer.size):
            return self._adopt(expected, offer)
        self._prepare_partial(offer)
        if offer.size is not None:
            check_space(wanted, offer.size - partial_size(wanted))
        actual, resumed_from = self._fetch(source, offer)
        if expected and actual != expected and resumed_from:
            # What the earlier run left was bad, as after a power cut: begin again, once.
            os.unlink(wanted.partial)
            actual, resumed_from = self._fetch(source, offer)
        if expected and actual != expected:
            self._discard_partial()
            raise CopilotError(hash_mismatch_text(wanted, expected, actual))
        return self._put_in_place(actual, offer, resumed_from)

    def _dest_is(self, expected: str, size: int | None) -> bool:
        """Tells whether the file at ``dest`` has the checksum. Hashes it at most once."""
        try:
            if not os.path.isfile(self.wanted.dest) or size not in (None, os.path.getsize(self.wanted.dest)):
                return False
            if self._hash_of_dest is None:
                phase = "verifying the file that is there"
                self._hash_of_dest = hash_file(self.wanted.dest, self.progress, phase)
        except OSError as error:
            raise CopilotError(f"dest: cannot read {self.wanted.dest}: {error.strerror}.") from error
        return self._hash_of_dest == expected

    def _adopt(self, sha256: str, offer: Offer) -> dict[str, Any]:
        gguf = self._check_gguf(self.wanted.dest)
        record = self._write_record(sha256, offer, gguf)
        self._discard_partial()
        return {**record, "changed": True, "msg": "verified the file that was there", "resumed_from": 0}

    def _prepare_partial(self, offer: Offer) -> None:
        """Removes what an earlier run left of other bytes, and notes what these will be."""
        wanted = self.wanted
        becomes = {"sha256": wanted.sha256 or offer.sha256, "etag": offer.etag, "size": offer.size}
        if not (becomes["sha256"] or offer.etag):
            becomes["unknown"] = True  # Nothing would show that an earlier part is of the same file.
        known = read_json(f"{wanted.partial}.json")
        left = partial_size(wanted)
        if known != becomes or known.get("unknown") or (offer.size is not None and left > offer.size):
            self._discard_partial()
        write_json(f"{wanted.partial}.json", becomes)

    def _discard_partial(self) -> None:
        for path in (self.wanted.partial, f"{self.wanted.partial}.json"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _fetch(self, source: HubSource | UrlSource, offer: Offer) -> tuple[str, int]:
        """Returns the checksum of the complete partial file, and how many bytes were there before."""
        sink = Sink(self.wanted.partial, offer.size, self.progress)
        try:
            transfer(source.fetch, sink, offer, self.progress)
            if offer.size is not None and sink.size != offer.size:
                raise OSError(f"{sink.size} bytes came, but {offer.size} were announced")
            return sink.close(), sink.resumed_from
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CopilotError(
                    f"The disk is too small for {self.wanted.dest}: it was full after {sink.size} bytes. Free some "
                    f"space. {RUN_AGAIN}"
                ) from error
            raise CopilotError(f"{self.wanted.dest} could not be fetched: {error}. {RUN_AGAIN}") from error
        finally:
            sink.abandon()

    def _receive(self) -> dict[str, Any]:
        """Takes what the action plugin copied from the controller, or says from which byte it must go on."""
        wanted = self.wanted
        offer = Offer(wanted.src_size, wanted.sha256, f"{wanted.src_size}-{wanted.src_mtime_ns}")
        self._prepare_partial(offer)
        left = partial_size(wanted)
        if left < wanted.src_size:
            check_space(wanted, wanted.src_size - left)
            return {"changed": True, "upload_from": left}
        actual = hash_file(wanted.partial, self.progress)
        if actual != wanted.sha256:
            self._discard_partial()
            raise CopilotError(hash_mismatch_text(wanted, str(wanted.sha256), actual))
        with open(wanted.partial, "rb") as file:
            os.fsync(file.fileno())
        return self._put_in_place(actual, offer, 0)

    def _check_gguf(self, path: str) -> dict[str, Any] | None:
        if not self.wanted.verify_gguf:
            return None
        self.progress.update("checking the model's structure", 0, None, "bytes")
        return {**_gguf.check(path), "path": self.wanted.dest}

    def _put_in_place(self, sha256: str, offer: Offer, resumed_from: int) -> dict[str, Any]:
        wanted = self.wanted
        try:
            gguf = self._check_gguf(wanted.partial)
        except _gguf.UnknownTypeError as error:
            raise CopilotError(
                f"{error} The file stays as {wanted.partial}, so that it need not be fetched again; remove it to free its space."
            ) from error
        except CopilotError as error:
            self._discard_partial()  # All of it came, so no later run could mend it.
            raise CopilotError(f"What came is thrown away: {error}") from error
        os.replace(wanted.partial, wanted.dest)
        sync_folder(os.path.dirname(wanted.dest))
        record = self._write_record(sha256, offer, gguf)
        self._discard_partial()
        return {**record, "changed": True, "msg": "fetched and verified", "resumed_from": resumed_from}

    def _write_record(self, sha256: str, offer: Offer, gguf: dict[str, Any] | None) -> dict[str, Any]:
        stat = os.stat(self.wanted.dest)
        record = {
            "format": RECORD_FORMAT,
            **identity(self.wanted),
            "sha256": sha256,
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "revision": offer.revision,
            "etag": offer.etag,
            "gguf": gguf,
        }
        write_json(self.wanted.record, record)
        return record


def download(wanted: Wanted, progress: ProgressFile) -> dict[str, Any]:
    """Makes ``dest`` the wanted file. See ``Download.run``.

    :raises CopilotError: when it cannot.
    """
    record = recorded(wanted)
    if record and identity(wanted).items() <= record.items():  # Nothing to do: not even a lock is needed.
        return {**record, "changed": False, "msg": "already there", "resumed_from": 0}
    with only_run(wanted, progress):
        return Download(wanted, progress).run()
