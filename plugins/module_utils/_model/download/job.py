# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Downloads one model file to this host and verifies it, or leaves the existing file unchanged.

Beside the file ``dest`` are ``dest.json`` (the record of its verification, so that it need not be hashed again),
``dest.lock`` (one run at a time) and, until it is complete, ``dest.partial`` with
``dest.partial.json`` (the request, so that a later run knows whether it can resume).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sync_folder
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.download.hub import HubSource
from ansible_collections.slm.copilot.plugins.module_utils._model.download.transfer import (
    CHUNK,
    RUN_AGAIN,
    Sink,
    patiently,
    transfer,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.download.url import UrlSource
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import (
    RECORD_FORMAT,
    Offer,
    Wanted,
    identity,
    read_json,
    recorded,
    write_json,
)


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


def hash_mismatch_text(wanted: Wanted, expected: str, got: str) -> str:
    return (
        f"The checksum of {wanted.dest} does not match: sha256 {expected} was expected, and {got} came. The bytes are "
        "thrown away. Either sha256 is that of another file, or somebody changed the file on its way."
    )


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
        """Removes a partial file of different content, and records the new request."""
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
            self._discard_partial()  # The file is complete, so no later run could repair it.
            raise CopilotError(f"The downloaded data was discarded: {error}") from error
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
