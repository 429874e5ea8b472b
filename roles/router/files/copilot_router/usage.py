# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Usage records without any text of requests: a file for each day (UTC), with a line for each developer and model."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .names import Mode, Names
from .reply import Reply

logger = logging.getLogger(__name__)
TICK_SECONDS = 10.0  # maximum loss when the process is killed
COUNTS = ("requests", "broken_off", "computed", "cached", "generated", "seconds")
ENDING = ".jsonl"


class Usage:
    """The counts since the last write, and the files of all days.

    Two processes may add to the same files: a new LiteLLM starts beside the old one, which ends with its last answer.

    :param folder: in which the files are; empty: there are none, as nothing is counted.
    :param kept: seconds after which the file of a day is removed.
    :param key: of pseudonyms.
    :param clock: returns seconds since 1970.
    """

    def __init__(
        self, mode: Mode, folder: str = "", kept: float = 0.0, key: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        if mode is not Mode.OFF and not folder:
            raise ValueError("usage: the folder is missing")
        self._names = Names(mode, key, "usage")
        self._mode, self._folder, self._kept, self._clock = mode, Path(folder), kept, clock
        self._somewhere = bool(folder)
        self._day = ""
        self._lines: dict[tuple[str, str], dict[str, Any]] = {}
        self._complaint = ""

    def add(self, user: str, model: str, reply: Reply) -> None:
        """Counts a request that has ended: one that was answered, or whose client left."""
        if self._mode is Mode.OFF or reply.outcome not in ("answered", "left"):
            return
        self._follow_day()
        line = self._lines.setdefault((self._names.of(user), model), dict.fromkeys(COUNTS, 0))
        line["requests" if reply.outcome == "answered" else "broken_off"] += 1
        if (said := reply.said) is not None:
            line["computed"] += said.computed
            line["cached"] += said.cached
            line["generated"] += said.answer
            line["seconds"] += (said.prompt_ms + said.answer_ms) / 1000 or reply.computing

    def tick(self) -> None:
        """Writes what is new, and removes what has been kept for long enough."""
        self._write()
        self._follow_day()

    def _follow_day(self) -> None:
        today = self._day_before(0)
        if today == self._day or not self._somewhere:
            return
        self._write()
        self._day, self._lines = today, {}
        oldest = self._day_before(self._kept)
        try:
            for path in self._folder.glob(f"*{ENDING}"):
                if self._mode is Mode.OFF or path.stem < oldest:
                    path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def _day_before(self, seconds: float) -> str:
        return datetime.fromtimestamp(self._clock() - seconds, UTC).date().isoformat()

    def _write(self) -> None:
        if not self._lines:
            return
        path = self._folder / f"{self._day}{ENDING}"
        new = path.with_suffix(".new")
        try:
            with _alone(self._folder):
                total = self._written(path)
                for who, line in self._lines.items():
                    before = total.get(who, dict.fromkeys(COUNTS, 0))
                    total[who] = {name: round(before[name] + line[name], 3) for name in COUNTS}
                lines = [
                    json.dumps({"developer": developer, "model": model, **line}) for (developer, model), line in total.items()
                ]
                with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in lines))
                os.replace(new, path)
        except OSError as error:
            return self._complain(error)
        self._lines, self._complaint = {}, ""

    def _written(self, path: Path) -> dict[tuple[str, str], dict[str, Any]]:
        try:
            return _read(path)
        except (ValueError, KeyError, TypeError):
            logger.error("usage records start again from zero: the file of %s cannot be read", path.stem)
            return {}

    def _complain(self, error: OSError) -> None:
        if self._complaint != str(error):
            logger.error("usage records cannot be written to %s: %s", self._folder, error.strerror)
            self._complaint = str(error)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns what was counted so far. Raises OSError, and ValueError, KeyError or TypeError for another content."""
    if not path.exists():
        return {}
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(one["developer"], one["model"]): {name: one[name] for name in COUNTS} for one in found}


async def keep(usage: Callable[[], Usage]) -> None:
    """Keeps what is counted, until cancelled.

    :param usage: returns that which holds now.
    """
    while True:
        usage().tick()
        await asyncio.sleep(TICK_SECONDS)
