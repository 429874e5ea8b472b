# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stream by which a server's router says how it is: written by one end, read by the other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from copilot_router.pool import Health
from copilot_router.state import State, read_line

SAID = {
    "seq": 7,
    "instance": "ab12",
    "time": 1000.0,
    "health": "ready",
    "slots": {"one": 2, "two": 1},
    "busy": {"one": 2, "two": 1},
    "queued": {"one": 3, "two": 0},
    "models": {"one": "loaded", "two": "unloaded"},
    "draining": 0,
}


def line(**other: Any) -> bytes:
    return json.dumps({**SAID, **other}).encode()


@pytest.mark.parametrize(
    ("other", "health"),
    [
        pytest.param({}, Health.READY, id="ready"),
        pytest.param({"health": "loading"}, Health.LOADING, id="loading"),
        pytest.param({"health": "down"}, Health.DOWN, id="down"),
        pytest.param({"draining": 3}, Health.DRAINING, id="draining"),
        pytest.param({"draining": 3, "health": "down"}, Health.DOWN, id="down while it drains"),
        pytest.param({"time": 1060.0}, Health.READY, id="clock a minute ahead"),
        pytest.param({"time": 1061.0}, Health.REFUSED, id="clock too far ahead"),
        pytest.param({"time": 939.0}, Health.REFUSED, id="clock too far behind"),
    ],
)
def test_what_a_line_says(other: dict[str, Any], health: Health) -> None:
    seen = read_line(line(**other), 1000.0)
    assert (seen.health, seen.load, seen.mark) == (health, 6, "ab12:7")


def test_a_wrong_clock_is_told_by_how_much() -> None:
    assert read_line(line(time=1100.0), 1000.0).detail == "its clock is 100 s ahead of this host's: set both by NTP"
    assert read_line(line(time=900.0), 1000.0).detail == "its clock is 100 s behind this host's: set both by NTP"


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b"[]", b"{}", line(busy=[1]), line(time="now"), line(seq=None)],
    ids=["nothing", "a page", "a list", "no fields", "another form", "no time", "no number"],
)
def test_what_is_no_line(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a state"):
        read_line(text, 1000.0)


class Source:
    """A router's state, which a test changes."""

    def __init__(self, length: float = 60.0, beat: float = 60.0) -> None:
        self.now = {name: SAID[name] for name in ("health", "slots", "busy", "queued", "models", "draining")}
        self.state = State(lambda: self.now, length=length, beat=beat)
        self.state.refresh()

    def change(self, **other: Any) -> None:
        self.now = {**self.now, **other}
        self.state.refresh()


async def first(source: Source, after: str = "", seconds: float = 5.0) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        return json.loads(await anext(aiter(source.state.lines(after))))


def test_a_new_follower_is_told_at_once_and_one_that_comes_back_when_there_is_news() -> None:
    async def run() -> None:
        source = Source()
        said = await first(source)
        assert (said["seq"], said["instance"]) == (1, source.state.instance)
        mark = f"{said['instance']}:{said['seq']}"
        with pytest.raises(TimeoutError):
            await first(source, mark, 0.05)
        waiting = asyncio.create_task(first(source, mark))
        await asyncio.sleep(0)
        source.change(busy={"one": 0, "two": 0})
        assert (await waiting)["seq"] == 2
        assert (await first(source, mark))["seq"] == 2  # what it missed is not lost
        for stranger in ("ab12:2", "nonsense", "0" * 9 + ":2"):
            assert (await first(source, stranger))["seq"] == 2

    asyncio.run(run())


def test_the_same_has_the_same_number_also_while_a_drain_runs_down() -> None:
    source = Source()
    for left in (30, 29, 28):
        source.change(draining=left)
    assert asyncio.run(first(source))["seq"] == 2


def test_it_beats_while_nothing_changes_and_ends_after_its_time() -> None:
    async def run() -> list[int]:
        source = Source(length=0.25, beat=0.1)
        return [json.loads(one)["seq"] async for one in source.state.lines("")]

    seen = asyncio.run(run())
    assert 3 <= len(seen) <= 5
    assert set(seen) == {1}


def test_it_ends_at_once_when_the_process_stops() -> None:
    async def run() -> int:
        source = Source()
        lines = aiter(source.state.lines(""))
        await anext(lines)
        asyncio.get_running_loop().call_later(0.01, source.state.close)
        return len([one async for one in lines])

    assert asyncio.run(run()) == 0
