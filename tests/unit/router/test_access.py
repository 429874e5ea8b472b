# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The line of a request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from typing import Any

import pytest
from copilot_router import access
from copilot_router.names import Mode
from copilot_router.reply import EVENT_STREAM, Reply
from copilot_router.tokens import Timings


def line(user: str = "alice", model: str = "tiny", *calls: tuple[Any, ...], said: Timings | None = None) -> str:
    async def send(_message: Any) -> None:
        return

    async def ended() -> str:
        reply = Reply(send, first_sign=1, signs=1)
        for method, *arguments in calls:
            await getattr(reply, method)(*arguments)
        reply.said = said
        return re.sub(r"\d+\.\d", "0.0", access.line(user, model, reply))

    return asyncio.run(ended())


def test_an_answer_has_its_tokens() -> None:
    calls = [("start", 200, EVENT_STREAM), ("piece", b"data: {}\n\n"), ("finish",)]
    assert line("alice", "tiny", *calls, said=Timings(10, 24, answer=5)) == (
        "request user=alice model=tiny outcome=answered status=200 seconds=0.0 first=0.0 computed=24 cached=10 generated=5"
    )


def test_one_that_left_before_anything_was_sent_has_none() -> None:
    assert line() == "request user=alice model=tiny outcome=left status=- seconds=0.0"


@pytest.mark.parametrize("user", ["a b", "a\nb", "a\x1bb", "aéb"])
def test_a_name_ends_no_line_and_looks_like_no_other_part(user: str) -> None:
    assert line(user).startswith("request user=a?b model=tiny ")


def test_nobody_is_a_dash() -> None:
    assert line("").startswith("request user=- ")


def logged(caplog: pytest.LogCaptureFixture, mode: Mode, key: str = "") -> list[str]:
    """Returns the lines of a request and of two actions."""

    async def send(_message: Any) -> None:
        return

    async def ended() -> None:
        log = access.AccessLog(mode, key)
        log.request("alice", "tiny", Reply(send, first_sign=1, signs=1))
        log.action("ada", "unload", "tiny", 200)
        log.action("", "drain", None, 400)

    with caplog.at_level(logging.INFO, "copilot_router.access"):
        asyncio.run(ended())
    return [re.sub(r"seconds=.*", "", line) for line in caplog.messages]


def test_names_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, Mode.NAME) == [
        "request user=alice model=tiny outcome=left status=- ",
        "action user=ada what=unload model=tiny status=200",
        "action user=- what=drain model=- status=400",
    ]


def test_pseudonyms_are_those_of_usage(caplog: pytest.LogCaptureFixture) -> None:
    alice, ada = (hmac.new(b"secret", name, hashlib.sha256).hexdigest()[:16] for name in (b"alice", b"ada"))
    assert logged(caplog, Mode.PSEUDONYM, "secret\n") == [
        f"request user={alice} model=tiny outcome=left status=- ",
        f"action user={ada} what=unload model=tiny status=200",
        "action user=- what=drain model=- status=400",
    ]


def test_nothing_is_logged_where_nothing_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, Mode.OFF) == []


def test_pseudonyms_need_a_key() -> None:
    with pytest.raises(ValueError, match="access_log: pseudonyms need a key"):
        access.AccessLog(Mode.PSEUDONYM, " ")
