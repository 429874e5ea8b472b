# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state that a server's router streams to the fleet's balancers, one JSON object per line: writing and reading."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .pool import Health

PATH = "/router/state"
AFTER = re.compile(r"([0-9a-f]+):([0-9]+)")
CLOCK_SECONDS = 60.0  # maximum difference of two hosts' clocks


@dataclass(frozen=True)
class Seen:
    """The content of one line.

    :param load: requests that the server has, running and waiting.
    :param mark: what to ask for the lines after it by.
    :param held: what it holds of conversations, by model; nothing: it does not say.
    :param time: by the server's clock, in seconds since 1970.
    """

    health: Health
    detail: str
    load: int
    mark: str
    held: Mapping[str, Any] = field(default_factory=dict)
    time: float = 0.0


def read_line(line: bytes, now: float) -> Seen:
    """Parses one line. Raises ValueError if it is invalid.

    :param now: seconds since 1970 by our own clock.
    """
    try:
        said = json.loads(line)
        ahead = float(said["time"]) - now
        load = sum(map(int, said["busy"].values())) + sum(map(int, said["queued"].values()))
        mark = f"{said['instance']}:{int(said['seq'])}"
        health, draining = str(said["health"]), float(said["draining"])
        held = dict(said.get("held", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a state: {type(error).__name__}") from error
    if abs(ahead) > CLOCK_SECONDS:
        where = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
        return Seen(Health.REFUSED, f"its clock is {where}: set both by NTP", load, mark)
    if health == "down":
        return Seen(Health.DOWN, "its engine is not there", load, mark)
    if health != "ready":
        return Seen(Health.LOADING, "", load, mark)
    return Seen(Health.DRAINING if draining > 0 else Health.READY, "", load, mark, held, now + ahead)


class State:
    """The numbered states. Each line is complete, so that a reader who missed some needs only the last one.

    :param snapshot: returns the state now.
    :param length: seconds after which a stream ends; a new one goes on after its last number.
    :param beat: seconds after which a line is sent although nothing changed.
    """

    def __init__(self, snapshot: Callable[[], dict[str, Any]], *, length: float, beat: float) -> None:
        self._snapshot, self._length, self._beat = snapshot, length, beat
        self.instance = secrets.token_hex(4)  # numbers are valid for one run of the process
        self._number = 0
        self._told: dict[str, Any] = {}
        self._news = asyncio.Event()
        self._closed = False

    def refresh(self) -> None:
        """Increments the number if the state has changed. The remaining seconds of a drain do not count as a change."""
        found = self._snapshot()
        mark = {**found, "draining": found["draining"] > 0}
        if mark != self._told:
            self._told = mark
            self._number += 1
            self._wake()

    def close(self) -> None:
        """Ends all streams: the process is about to stop."""
        self._closed = True
        self._wake()

    async def lines(self, after: str) -> AsyncIterator[bytes]:
        """Yields the current state, and every new one.

        :param after: ``INSTANCE:NUMBER`` of the last line that was seen, which is not sent again at once; or anything else.
        """
        match = AFTER.fullmatch(after)
        seen = int(match[2]) if match and match[1] == self.instance else 0
        end = time.monotonic() + self._length
        while not self._closed and (left := end - time.monotonic()) > 0:
            if seen == self._number:
                await self._wait(min(self._beat, left))
            if not self._closed:
                seen = self._number
                yield self._line()

    async def _wait(self, seconds: float) -> None:
        news = self._news
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _line(self) -> bytes:
        head = {"seq": self._number, "instance": self.instance, "time": round(time.time(), 3)}
        return json.dumps({**head, **self._snapshot()}).encode() + b"\n"
