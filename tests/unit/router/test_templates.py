# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When it is learnt what templates need, and when it is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from copilot_router.histories import Needs, probes
from copilot_router.templates import Templates

PATIENCE = 0.2  # seconds
ALL = len(probes())


class Engine:
    """Makes of a history a prompt that says all of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []  # targets
        self.silent = False
        self.answer: tuple[int, bytes] | None = None  # in its place

    async def post(self, target: bytes, content: Any) -> tuple[int, bytes]:
        self.asked.append(target.decode())
        if self.silent:
            await asyncio.Event().wait()
        return self.answer or (200, json.dumps({"prompt": json.dumps(content)}).encode())


def play(scene: Callable[[Templates, Engine], Awaitable[None]], *, enabled: bool = True) -> None:
    async def run() -> None:
        engine = Engine()
        templates = Templates(engine.post, enabled=enabled, patience=PATIENCE)
        async with asyncio.timeout(5):
            await scene(templates, engine)
        templates.close()

    asyncio.run(run())


def test_it_is_learnt_once_for_as_long_as_the_model_is_loaded() -> None:
    async def scene(templates: Templates, engine: Engine) -> None:
        templates.seen({"one"})
        first, second = await asyncio.gather(templates.needs("one"), templates.needs("one"))
        assert isinstance(first, Needs) and first is second is templates.known("one")
        templates.seen({"one", "two"})
        await templates.needs("two")
        assert engine.asked == ["/apply-template?autoload=false"] * 2 * ALL, "nothing is loaded for that"
        templates.seen({"two"})
        assert templates.known("one") is None
        assert (await templates.needs("one"), engine.asked[-1]) == (first, "/apply-template"), (
            "who has its slot may have it loaded"
        )

    play(scene)


def test_a_silent_engine_is_not_waited_for() -> None:
    async def scene(templates: Templates, engine: Engine) -> None:
        engine.silent = True
        templates.seen({"one"})
        assert await templates.needs("one") is None
        engine.silent = False
        assert await templates.needs("one") is not None, "the next one asks again"

    play(scene)


def test_a_model_that_is_gone_again_is_asked_later() -> None:
    async def scene(templates: Templates, engine: Engine) -> None:
        engine.answer = (400, b'{"error": {"message": "model is not loaded"}}')
        templates.seen({"one"})
        assert await templates.needs("one") is None
        engine.answer = None
        assert await templates.needs("one") is not None

    play(scene)


def test_a_template_that_takes_nothing_is_not_asked_again() -> None:
    async def scene(templates: Templates, engine: Engine) -> None:
        engine.answer = (500, b'{"error": {"message": "no"}}')
        templates.seen({"one"})
        assert [await templates.needs("one") for _request in range(2)] == [None, None]
        assert len(engine.asked) == ALL

    play(scene)


def test_who_leaves_takes_nothing_from_others() -> None:
    async def scene(templates: Templates, engine: Engine) -> None:
        leaving, staying = (asyncio.create_task(templates.needs("one")) for _request in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying is not None

    play(scene)


def test_it_can_be_off() -> None:
    async def scene(templates: Templates, engine: Engine) -> None:
        templates.seen({"one"})
        assert (await templates.needs("one"), templates.known("one"), engine.asked) == (None, None, [])

    play(scene, enabled=False)
