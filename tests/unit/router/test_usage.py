# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is counted of each developer, and for how long it stays."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from copilot_router.names import Mode
from copilot_router.reply import Reply
from copilot_router.tokens import Timings
from copilot_router.usage import Usage

DAY = 86400.0
NOON = 7300 * DAY + DAY / 2  # 1989-12-27
SAID = Timings(cached=10, computed=24, prompt_ms=1500, answer=5, answer_ms=500)


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(tmp_path: Path, clock: Clock) -> Usage:
    return Usage(Mode.NAME, str(tmp_path), 2 * DAY, clock=clock)


def reply(status: int = 200, said: Timings | None = SAID, *, ended: bool = True) -> Reply:
    async def send(_message: Any) -> None:
        return

    made = Reply(send, first_sign=1, signs=1)
    made.status, made.said, made.ended = status, said, ended
    return made


def lines(folder: Path, day: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{day}.jsonl").read_text().splitlines()]


def test_requests_of_one_developer_and_model_are_one_line(usage: Usage, tmp_path: Path) -> None:
    usage.add("alice", "tiny", reply())
    usage.add("alice", "tiny", reply())
    usage.add("alice", "other", reply(said=None))
    usage.add("bob", "tiny", reply(status=0, said=None, ended=False))
    usage.tick()
    none = dict.fromkeys(("requests", "broken_off", "computed", "cached", "generated", "seconds"), 0)
    assert lines(tmp_path, "1989-12-27") == [
        {
            "developer": "alice",
            "model": "tiny",
            **none,
            "requests": 2,
            "computed": 48,
            "cached": 20,
            "generated": 10,
            "seconds": 4,
        },
        {"developer": "alice", "model": "other", **none, "requests": 1},
        {"developer": "bob", "model": "tiny", **none, "broken_off": 1},
    ]
    assert stat.S_IMODE((tmp_path / "1989-12-27.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("status", [400, 502, 503], ids=["wrong", "failed", "refused"])
def test_what_got_no_answer_is_not_counted(usage: Usage, tmp_path: Path, status: int) -> None:
    usage.add("alice", "tiny", reply(status, None))
    usage.tick()
    assert list(tmp_path.iterdir()) == []


def test_a_restart_goes_on_counting(usage: Usage, tmp_path: Path, clock: Clock) -> None:
    usage.add("alice", "tiny", reply())
    usage.tick()
    again = Usage(Mode.NAME, str(tmp_path), 2 * DAY, clock=clock)
    again.add("alice", "tiny", reply())
    again.tick()
    assert [line["requests"] for line in lines(tmp_path, "1989-12-27")] == [2]


def test_each_day_has_a_file_and_old_ones_go(usage: Usage, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "somebody's").touch()
    for _day in range(4):
        usage.add("alice", "tiny", reply())
        clock.now += DAY
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["1989-12-28.jsonl", "1989-12-29.jsonl"]
    usage.tick()  # on the 31st, without a request
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1989-12-29.jsonl", "1989-12-30.jsonl", "somebody's"]
    assert [line["requests"] for line in lines(tmp_path, "1989-12-30")] == [1]


def test_a_pseudonym_is_the_same_everywhere_and_holds_no_name(tmp_path: Path, clock: Clock) -> None:
    usage = Usage(Mode.PSEUDONYM, str(tmp_path), DAY, "secret\n", clock=clock)
    usage.add("alice", "tiny", reply())
    usage.tick()
    (line,) = lines(tmp_path, "1989-12-27")
    assert line["developer"] == hmac.new(b"secret", b"alice", hashlib.sha256).hexdigest()[:16]


def test_pseudonyms_need_a_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a key"):
        Usage(Mode.PSEUDONYM, str(tmp_path), DAY, " ")


def test_off_removes_what_was_kept_and_counts_nothing(usage: Usage, tmp_path: Path, clock: Clock) -> None:
    usage.add("alice", "tiny", reply())
    usage.tick()
    off = Usage(Mode.OFF, str(tmp_path), 2 * DAY, clock=clock)
    off.tick()
    off.add("alice", "tiny", reply())
    off.tick()
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1989-12-27.jsonl").touch()
    Usage(Mode.OFF).tick()
    assert (tmp_path / "1989-12-27.jsonl").exists()
    with pytest.raises(ValueError, match="the folder is missing"):
        Usage(Mode.NAME)


def test_a_full_disk_is_told_once_and_nothing_is_lost(
    usage: Usage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage.add("alice", "tiny", reply())
    (tmp_path / "1989-12-27.new").mkdir()
    usage.tick()
    usage.tick()
    assert len(caplog.records) == 1
    (tmp_path / "1989-12-27.new").rmdir()
    usage.tick()
    assert len(lines(tmp_path, "1989-12-27")) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"developer": "alice"}'], ids=["cut off", "a list", "too little"])
def test_a_file_that_cannot_be_read_is_not_overwritten_in_silence(
    usage: Usage, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / "1989-12-27.jsonl").write_text(content)
    usage.add("alice", "tiny", reply())
    usage.tick()
    assert [line["requests"] for line in lines(tmp_path, "1989-12-27")] == [1]
    assert len(caplog.records) == 1


def test_two_processes_count_into_the_same_day(usage: Usage, tmp_path: Path, clock: Clock) -> None:
    other = Usage(Mode.NAME, str(tmp_path), 2 * DAY, clock=clock)
    for one in (usage, other, usage):
        one.add("alice", "tiny", reply())
        one.tick()
    (line,) = lines(tmp_path, "1989-12-27")
    assert (line["requests"], line["computed"], line["seconds"]) == (3, 72, 6.0)


def test_where_llama_server_says_no_times_what_passed_counts(usage: Usage, tmp_path: Path) -> None:
    answer = reply(said=Timings(cached=10, computed=24, answer=5))
    answer.computing = 2.5
    usage.add("alice", "tiny", answer)
    usage.tick()
    (line,) = lines(tmp_path, "1989-12-27")
    assert line["seconds"] == 2.5
