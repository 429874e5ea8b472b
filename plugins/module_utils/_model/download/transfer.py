# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The partial file, retries when a source is interrupted or busy, and error messages."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._model.download.wanted import Offer

CHUNK = 1 << 20
ATTEMPTS_WITHOUT_PROGRESS = 5

# How long to retry a busy server, at least a few minutes: all hosts of a fleet download at the same time.
BUSY = (408, 429, 500, 502, 503, 504)
ATTEMPTS_WHILE_BUSY = 8
LONGEST_PAUSE = 600
SECONDS_OF_SILENCE = 30
RUN_AGAIN = "Run again: it goes on where it stopped."


class Interrupted(Exception):
    """The connection was interrupted, or the server is busy; the data so far is good."""

    def __init__(self, reason: str, busy: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.busy = busy  # The server answered, and will have time later.
        self.pause = pause  # How many seconds it asked to wait.


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
        """Discards the partial file: the source has changed, or cannot serve ranges."""
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
    """Retries a step after interruptions until it succeeds, or several attempts in a row receive no data.

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
                progress.update("waiting for the server, which is busy", done(), None, "bytes")
            time.sleep(seconds_to_wait(failures, error))


def transfer(fetch_rest: Callable[[Sink, Offer], None], sink: Sink, offer: Offer, progress: ProgressFile) -> None:
    """Downloads until the file is complete.

    :raises CopilotError: when it gives up; what came stays for the next run.
    """

    def gave_up(error: Interrupted) -> str:
        total = "" if offer.size is None else f" of {offer.size}"
        return f"The connection was cut at {sink.size}{total} bytes and did not come back: {error}. {RUN_AGAIN}"

    patiently(lambda: fetch_rest(sink, offer), lambda: sink.size, gave_up, progress)
