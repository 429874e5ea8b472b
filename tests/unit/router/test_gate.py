# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests that wait on an event loop for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from copilot_router.gate import Gate
from copilot_router.slots import Health, Outcome, Refusal, Role, Slots, Ticket

MOMENT = 0.05  # seconds


def run(scene: Callable[[Gate], Awaitable[None]], patience: float = 60.0, health: Health = Health.READY) -> None:
    """Plays a scene at a gate of one slot."""

    async def play() -> None:
        gate = Gate(Slots({"tiny": 1}, patience=patience))
        gate.engine(health)
        async with asyncio.timeout(5):
            await scene(gate)

    asyncio.run(play())


async def waits(turn: asyncio.Task[None]) -> bool:
    await asyncio.sleep(MOMENT)
    return not turn.done()


def asked(gate: Gate, role: Role = Role.DEVELOPER) -> tuple[Ticket, asyncio.Task[None]]:
    ticket = gate.arrive("tiny", role)
    return ticket, asyncio.create_task(gate.turn(ticket))


def test_the_end_of_one_is_the_turn_of_the_next() -> None:
    async def scene(gate: Gate) -> None:
        first, turn = asked(gate)
        await turn
        _second, turn = asked(gate)
        assert await waits(turn)
        gate.end(first, Outcome.ANSWERED)
        await turn

    run(scene)


def test_who_leaves_while_waiting_is_passed_over() -> None:
    async def scene(gate: Gate) -> None:
        first, turn = asked(gate)
        await turn
        second, leaving = asked(gate)
        _third, turn = asked(gate)
        assert await waits(leaving)
        leaving.cancel()
        gate.end(second, Outcome.LEFT)
        gate.end(first, Outcome.ANSWERED)
        await turn
        assert gate.snapshot()["queued"] == {"tiny": 0}

    run(scene)


@pytest.mark.parametrize(
    ("role", "patience"), [(Role.BALANCER, 60.0), (Role.DEVELOPER, 2 * MOMENT)], ids=["balancer", "developer"]
)
def test_who_waits_for_the_engine_is_refused_in_time(role: Role, patience: float) -> None:
    async def scene(gate: Gate) -> None:
        _ticket, turn = asked(gate, role)
        with pytest.raises(Refusal, match="not available"):
            await turn

    run(scene, patience, Health.DOWN)


@pytest.mark.parametrize("role", [Role.BALANCER, Role.DEVELOPER])
def test_a_request_that_is_to_be_sent_again_gets_another_turn_or_is_told(role: Role) -> None:
    async def scene(gate: Gate) -> None:
        ticket, turn = asked(gate, role)
        await turn
        gate.engine(Health.DOWN)
        gate.again(ticket)
        turn = asyncio.create_task(gate.turn(ticket))
        if role is Role.BALANCER:
            with pytest.raises(Refusal):
                await turn
            return
        assert await waits(turn)
        gate.engine(Health.READY)
        await turn

    run(scene)


def test_a_drain_ends_without_anything_happening() -> None:
    async def scene(gate: Gate) -> None:
        changes: list[float] = []
        gate.on_change.append(lambda: changes.append(gate.snapshot()["draining"]))
        gate.drain(4 * MOMENT)
        _ticket, turn = asked(gate)
        assert await waits(turn)
        await turn
        assert changes[-1] == 0
        assert gate.health is Health.READY

    run(scene)
