# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The line of a request."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from copilot_router import access
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
