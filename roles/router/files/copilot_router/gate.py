# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The slots on an event loop, where requests wait for their turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from .slots import Health, Outcome, Role, Slots, Ticket, no_work


class Gate:
    """Assigns turns, and provides the time for the core. Create and use it on one event loop."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.on_change: list[Callable[[], None]] = []
        self.left = asyncio.Event()  # a client has disconnected; the watcher polls the engine and clears it

    @property
    def health(self) -> Health:
        """The last observed health of the engine."""
        return self._slots.health

    def arrive(self, model: str | None, role: Role, user: str = "", work: Callable[[], float] = no_work) -> Ticket:
        """Registers a request, which must be ended. Raises KeyError for an unknown model.

        :param work: returns the seconds that its prompt would take now.
        """
        return self._slots.arrive(model, role, time.monotonic(), user, work)

    async def turn(self, ticket: Ticket) -> None:
        """Waits until the request may be sent. Raises Refusal if it may not."""
        turn = self._turns[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._advance()
            await turn
        finally:
            self._turns.pop(ticket, None)
        if ticket.refusal is not None:
            raise ticket.refusal

    def again(self, ticket: Ticket) -> None:
        """Puts the request back into the queue, ordered by its age. ``turn`` must follow."""
        self._slots.again(ticket)

    def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """Records the end of a request, for whatever reason; only the first call counts."""
        self._slots.end(ticket, outcome)
        self._advance()

    def leave(self, ticket: Ticket) -> None:
        """Records that the client of a request has disconnected."""
        self._slots.leave(ticket)
        if self._slots.leaving:
            self.left.set()
        self._advance()

    def waits_for(self, ticket: Ticket) -> str:
        """Returns in a few words what a request is waiting for."""
        return self._slots.waits_for(ticket)

    @property
    def leaving(self) -> list[str]:
        """The models for which llama-server may still process requests of disconnected clients."""
        return self._slots.leaving

    def working(self, name: str, requests: int) -> None:
        """Records how many requests of a model llama-server is processing."""
        self._slots.working(name, requests)
        self._advance()

    def engine(self, health: Health, states: Mapping[str, str] | None = None, slots: Mapping[str, int] | None = None) -> None:
        """Records the health of the engine and, if known, the states of its models."""
        self._slots.engine(health, time.monotonic())
        self._slots.model_states(states or {})
        self._slots.resize(slots or {})
        self._advance()

    def drain(self, seconds: float) -> None:
        """Drains for so many seconds, in which no slot is assigned; 0 resumes."""
        self._slots.drain(seconds, time.monotonic())
        self._advance()

    def developers(self) -> dict[str, tuple[int, int]]:
        """Returns for each model the number of developers with a request, and of those among them without a running one."""
        return self._slots.developers()

    def snapshot(self) -> dict[str, Any]:
        """Returns the state in plain words and numbers."""
        return self._slots.snapshot(time.monotonic())

    def _advance(self) -> None:
        now = time.monotonic()
        for ticket in self._slots.advance(now):
            turn = self._turns.get(ticket)
            if turn is not None and not turn.done():
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        due = self._slots.next_event(now)
        self._timer = None if due is None else asyncio.get_running_loop().call_later(max(0.0, due - now), self._advance)
        for changed in self.on_change:
            changed()
