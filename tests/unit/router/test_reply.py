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


async def ended(*calls):
    """Returns what becomes of a request after such calls of its reply, each a method with its arguments."""

    async def send(_message):
        return

    reply = Reply(send, first_sign=SIGNS, signs=SIGNS)
    for method, *arguments in calls:
        await getattr(reply, method)(*arguments)
    return reply.outcome, reply.first_seconds is not None


HEAD, WHOLE = ("start", 200, EVENT_STREAM), ("start", 200, [(b"content-type", b"application/json")])
ERROR = {"code": "x", "message": "y"}


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        pytest.param([], ("left", False), id="gone before anything was sent"),
        pytest.param([HEAD], ("left", False), id="gone while it waited"),
        pytest.param([HEAD, ("piece", b"data: {}\n\n")], ("left", True), id="gone in the middle"),
        pytest.param([HEAD, ("piece", b"data: {}\n\n"), ("finish",)], ("answered", True), id="a stream"),
        pytest.param([WHOLE, ("piece", b"{}"), ("finish",)], ("answered", False), id="a whole answer"),
        pytest.param([("fail", 400, ERROR)], ("invalid", False), id="what is wrong"),
        pytest.param([("fail", 503, ERROR)], ("refused", False), id="what must come again"),
        pytest.param([HEAD, ("fail", 503, ERROR)], ("refused", False), id="what must come again, told in its stream"),
        pytest.param([HEAD, ("piece", b"data: {}\n\n"), ("error", ERROR)], ("failed", True), id="broken off"),
        pytest.param([WHOLE, ("piece", b"{"), ("error", ERROR)], ("failed", False), id="broken off without an end"),
    ],
)
def test_every_end_has_its_word(calls, outcome):
    assert asyncio.run(ended(*calls)) == outcome
