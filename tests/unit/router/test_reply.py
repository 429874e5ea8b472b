# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Signs of life while a stream waits."""

import asyncio
import signal
from contextlib import suppress

import pytest
from copilot_router.reply import EVENT_STREAM, Reply

SIGNS = 0.01


@pytest.fixture
def not_for_ever():
    """A loop that never gives way would hang the test, and is ended from outside."""

    def hangs(_number, _frame):
        raise AssertionError("it never gives way to others")

    earlier = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, earlier)


async def said_while_waiting(*pieces: bytes) -> bytes:
    sent = []

    async def send(message):
        sent.append(message.get("body", b""))

    reply = Reply(send, first_sign=SIGNS, signs=SIGNS)
    if pieces:
        await reply.start(200, EVENT_STREAM)
    for piece in pieces:
        await reply.piece(piece)
    waiting = asyncio.create_task(reply.keep_alive())
    await asyncio.sleep(10 * SIGNS)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    return b"".join(sent)


@pytest.mark.parametrize(
    ("pieces", "comments"),
    [
        pytest.param([], True, id="before_its_head"),
        pytest.param([b"data: {}\n\n"], True, id="between_two_events"),
        pytest.param([b'data: {"half'], False, id="in_the_middle_of_an_event"),
    ],
)
def test_a_silent_stream_lives(not_for_ever, pieces, comments):
    said = asyncio.run(said_while_waiting(*pieces))
    assert (b": waiting\n\n" in said) is comments
