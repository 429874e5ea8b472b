# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Assigns the slots of this host's llama-server, and queues further requests.

Developers take turns. Within a turn, a short prompt precedes a long one that has not waited for much longer, so that cached
prompts are used before they are evicted. A developer overtakes the same request a few times at most.

Pure: no clock, no network, no event loop. Events are passed with ``now``, in seconds of a monotonic clock. ``advance`` returns
the consequences of events and of time; ``next_event`` returns when to call it again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

STARVED = 1200.0  # seconds: requests that have waited for so long come first
SHORTER = 8.0  # seconds of waiting that outweigh one second of prompt processing
OVERTAKEN = 3  # how often each developer may overtake the same request


class Health(StrEnum):
    """The health of llama-server."""

    DOWN = "down"  # it cannot be reached
    LOADING = "loading"  # it answers, but is not ready yet
    READY = "ready"


class Role(StrEnum):
    """The caller, as named by the gateway."""

    DEVELOPER = "developer"
    ADMIN = "admin"
    BALANCER = "balancer"  # it tries another server instead of waiting for this engine


class Stage(StrEnum):
    """The stage of a request."""

    WAITING = "waiting"  # for a slot, or for the engine
    RUNNING = "running"  # it may be at llama-server, and holds a slot if it needs one
    LEAVING = "leaving"  # its client disconnected, but llama-server may still process it: it keeps its slot
    REFUSED = "refused"  # it waited for too long, or may not wait
    ENDED = "ended"


class Outcome(StrEnum):
    """The outcome of a request that ran."""

    ANSWERED = "answered"
    BROKEN = "broken"  # by llama-server, before or after the start of its answer
    LEFT = "left"  # by its client


class EngineFailed(Exception):
    """llama-server did not do its part.

    :param reached: it may have seen the request.
    """

    def __init__(self, reason: str, *, reached: bool) -> None:
        super().__init__(reason)
        self.reached = reached


class Refusal(Exception):
    """A request cannot be served now.

    :param code: a word for programs.
    :param retry_after: whole seconds, at least 1, until it may be worth asking again.
    """

    def __init__(self, code: str, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.code, self.reason, self.retry_after = code, reason, retry_after


def no_work() -> float:
    """Returns the seconds that a prompt takes if nothing is known of it."""
    return 0.0


@dataclass(eq=False)
class Ticket:
    """One request, from its arrival to its end.

    :param model: whose slot it needs; None: none, it only needs the engine.
    :param arrived: seconds of ``now``.
    :param user: who asks.
    :param work: returns the seconds that its prompt would take now.
    """

    model: str | None
    role: Role
    arrived: float
    user: str = ""
    work: Callable[[], float] = no_work
    stage: Stage = Stage.WAITING
    slot: int | None = None  # while it runs or leaves
    refusal: Refusal | None = None  # when it was refused
    progress: str = ""  # progress of its prompt, in words
    overtaken: Counter[str] = field(default_factory=Counter)  # how often, by developer

    def tell(self, progress: str) -> None:
        """Records its progress."""
        self.progress = progress


@dataclass
class _Model:
    """The slots of one model: who holds each."""

    size: int
    holders: dict[int, Ticket] = field(default_factory=dict)
    state: str = ""  # as reported by llama-server in router mode
    turn: int = 0  # of the last request that got a slot
    turns: dict[str, int] = field(default_factory=dict)  # developer -> number of the next turn, while the developer has a request

    @property
    def leaving(self) -> list[Ticket]:
        return [ticket for ticket in self.holders.values() if ticket.stage is Stage.LEAVING]

    @property
    def free(self) -> list[int]:
        return [slot for slot in range(self.size) if slot not in self.holders] if len(self.holders) < self.size else []


@dataclass
class Counts:
    """How requests that needed a slot ended since the start."""

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, Outcome), 0))
    refused: int = 0


def choose_slot(free: Collection[int], ticket: Ticket) -> int:
    """Returns one of the free slots, of which there is at least one: the one place where a request gets its slot."""
    return min(free)


class Slots:
    """All slots of one llama-server. It takes no lock: call it from one thread only.

    :param slots: model -> how many requests it works on at a time, at least 1.
    :param patience: seconds that a developer's request waits for an engine that is not ready.
    """

    def __init__(self, slots: Mapping[str, int], *, patience: float) -> None:
        self._models = {name: _Model(number) for name, number in slots.items()}
        self._patience = patience
        self._waiting: list[Ticket] = []  # oldest first
        self._health = Health.DOWN
        self._since = 0.0  # time at which the engine stopped being ready
        self._drained_until = -math.inf
        self.counts = Counts()

    @property
    def health(self) -> Health:
        """The last observed health of the engine."""
        return self._health

    def arrive(self, model: str | None, role: Role, now: float, user: str = "", work: Callable[[], float] = no_work) -> Ticket:
        """Registers a request. It waits until ``advance`` returns it. Raises KeyError for an unknown model.

        :param work: returns the seconds that its prompt would take now.
        """
        if model is not None and model not in self._models:
            raise KeyError(model)
        ticket = Ticket(model, role, now, user, work)
        self._waiting.append(ticket)
        return ticket

    def again(self, ticket: Ticket) -> None:
        """Puts a running request whose answer has not started back into the queue, ordered by its age."""
        self._leave_slot(ticket)
        ticket.stage, ticket.progress = Stage.WAITING, ""
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda one: one.arrived)

    def end(self, ticket: Ticket, outcome: Outcome) -> None:
        """Records the end of a request in any stage. Only the first call counts."""
        if ticket.stage is Stage.ENDED:
            return
        if ticket.stage is Stage.WAITING:
            self._waiting.remove(ticket)
        if ticket.model is not None and ticket.stage is not Stage.REFUSED:
            self.counts.outcomes[outcome] += 1
        self._let_go(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Records that a request's client disconnected. If it ran, its slot is free once llama-server has stopped it."""
        if ticket.stage is not Stage.RUNNING or ticket.slot is None:
            self.end(ticket, Outcome.LEFT)
        else:
            self.counts.outcomes[Outcome.LEFT] += 1
            ticket.stage = Stage.LEAVING

    @property
    def leaving(self) -> list[str]:
        """The models with requests whose client has disconnected."""
        return [name for name, model in self._models.items() if model.leaving]

    def working(self, name: str, requests: int) -> None:
        """Notes on how many requests of a model llama-server works: on those that run, and then on those whose client is gone."""
        leaving = self._models[name].leaving
        running = len(self._models[name].holders) - len(leaving)
        for ticket in leaving[max(0, requests - running) :]:
            self._let_go(ticket)

    def engine(self, health: Health, now: float) -> None:
        """Records the health of the engine. Running requests continue, and fail by themselves if they must."""
        if self._health is Health.READY and health is not Health.READY:
            self._since = now
        self._health = health
        if health is not Health.READY:  # it processes no requests
            for name in self.leaving:
                self.working(name, 0)

    def resize(self, slots: Mapping[str, int]) -> None:
        """Changes the number of slots of known models. Running requests continue, even in slots that no longer exist."""
        for name, number in slots.items():
            self._models[name].size = number

    def waits_for(self, ticket: Ticket) -> str:
        """Returns in a few words what a request is waiting for."""
        if self._health is not Health.READY:
            return "waiting for the engine"
        if ticket.stage is Stage.WAITING:
            waiting = [one for one in self._in_turn(ticket.arrived) if one.model == ticket.model]
            return f"waiting, {waiting.index(ticket)} before you"
        loads = ticket.model is not None and self._models[ticket.model].state in ("loading", "unloaded")
        return "waiting for the model to load" if loads else ticket.progress or "waiting"

    def model_states(self, states: Mapping[str, str]) -> None:
        """Records the states of models that llama-server reports; unknown models are ignored."""
        for name, model in self._models.items():
            model.state = states.get(name, "")

    def drain(self, seconds: float, now: float) -> None:
        """Drains for so many seconds, or until the next call; 0 resumes. Running requests continue."""
        self._drained_until = now + seconds if seconds > 0 else -math.inf

    def draining(self, now: float) -> float:
        """Returns the remaining seconds of the drain; 0 if there is none."""
        return max(0.0, self._drained_until - now)

    def advance(self, now: float) -> list[Ticket]:
        """Returns the requests that wait no longer: RUNNING ones, which must be ended, and REFUSED ones."""
        settled: list[Ticket] = []
        for ticket in self._in_turn(now):
            ticket.refusal = self._refusal(ticket, now)
            if ticket.refusal is not None:
                ticket.stage = Stage.REFUSED
                self.counts.refused += ticket.model is not None
            elif self._may_run(ticket, now):
                ticket.stage = Stage.RUNNING
            if ticket.stage is not Stage.WAITING:
                settled.append(ticket)
        self._waiting = [ticket for ticket in self._waiting if ticket.stage is Stage.WAITING]
        return settled

    def _in_turn(self, now: float) -> list[Ticket]:
        """Returns the queue in the order in which slots are assigned.

        For each model, every developer gets one request per turn, starting with the current turn (start-time fair queueing), so
        a developer with a dozen requests delays nobody by more than one. Within a turn, requests are ordered by their arrival
        plus ``SHORTER`` times the length of their prompt.
        """
        ahead: Counter[tuple[str, str]] = Counter()
        since = {ticket: ticket.arrived + SHORTER * ticket.work() for ticket in self._waiting}
        ranks = {}
        for ticket in sorted(self._waiting, key=since.__getitem__):
            if ticket.model is None or now - ticket.arrived >= STARVED:
                ranks[ticket] = (-1, ticket.arrived)
            else:
                who, model = (ticket.model, ticket.user), self._models[ticket.model]
                ranks[ticket] = (model.turns.get(ticket.user, model.turn) + ahead[who], since[ticket])
                ahead[who] += 1
        order = sorted(self._waiting, key=ranks.__getitem__)
        for ticket in self._waiting:  # oldest first
            often = {user for user, times in ticket.overtaken.items() if times >= OVERTAKEN}
            if often:
                place = order.index(ticket)
                behind = [
                    one
                    for one in order[:place]
                    if one.user in often
                    and one.arrived > ticket.arrived
                    and (one.user == ticket.user or ranks[one][0] >= ranks[ticket][0])
                ]
                order[: place + 1] = [*(one for one in order[: place + 1] if one not in behind), *behind]
        return order

    def next_event(self, now: float) -> float | None:
        """Returns when ``advance`` has something to do though nothing happens: seconds of ``now``; None: never."""
        times = [self._drained_until] if self.draining(now) else []
        if self._waiting and self._health is not Health.READY:
            times.append(min(self._deadline(one) for one in self._waiting))
        return min(times, default=None)

    def developers(self) -> dict[str, tuple[int, int]]:
        """Returns for each model the number of developers with a request, and of those among them without a running one."""
        found = {}
        for name, model in self._models.items():
            running = {ticket.user for ticket in model.holders.values() if ticket.stage is not Stage.LEAVING}
            waiting = {ticket.user for ticket in self._waiting if ticket.model == name}
            found[name] = len(running | waiting), len(waiting - running)
        return found

    def snapshot(self, now: float) -> dict[str, Any]:
        """Returns the state in plain words and numbers. ``draining`` is in whole seconds left."""
        queued = dict.fromkeys(self._models, 0)
        for ticket in self._waiting:
            if ticket.model is not None:
                queued[ticket.model] += 1
        return {
            "health": self._health.value,
            "slots": {name: model.size for name, model in self._models.items()},
            "busy": {name: len(model.holders) for name, model in self._models.items()},
            "queued": queued,
            "models": {name: model.state or self._state_of_one() for name, model in self._models.items()},
            "draining": math.ceil(self.draining(now)),
            "counts": {**self.counts.outcomes, "refused": self.counts.refused},
        }

    def _state_of_one(self) -> str:
        return {Health.READY: "loaded", Health.LOADING: "loading", Health.DOWN: "unloaded"}[self._health]

    def _refusal(self, ticket: Ticket, now: float) -> Refusal | None:
        """Returns why a request is refused. Balancers do not wait for long operations: they have other servers."""
        patient = ticket.role is not Role.BALANCER
        if self._health is not Health.READY and (not patient or now >= self._deadline(ticket)):
            if self._health is Health.LOADING:
                return Refusal("loading", "The engine is still loading its model. Try again.", 10)
            return Refusal("engine_down", "The engine is not available. Try again.", 10)
        left = self.draining(now)
        if left and not patient and ticket.model is not None:
            return Refusal("draining", "This server is draining, and takes no new requests for a while.", max(1, math.ceil(left)))
        return None

    def _deadline(self, ticket: Ticket) -> float:
        """The time until which a request waits for an engine that is not ready."""
        return max(ticket.arrived, self._since) + self._patience

    def _may_run(self, ticket: Ticket, now: float) -> bool:
        """Assigns a slot to the request, if it needs one and one is free."""
        if self._health is not Health.READY:
            return False
        if ticket.model is None:
            return True
        model = self._models[ticket.model]
        free = model.free
        if self.draining(now) or not free:
            return False
        ticket.slot = choose_slot(free, ticket)
        model.holders[ticket.slot] = ticket
        model.turn = max(model.turn, model.turns.get(ticket.user, model.turn))
        model.turns[ticket.user] = model.turn + 1
        for other in self._waiting:
            if other.arrived < ticket.arrived and other.model == ticket.model:
                other.overtaken[ticket.user] += 1
        return True

    def _let_go(self, ticket: Ticket) -> None:
        self._leave_slot(ticket)
        ticket.stage = Stage.ENDED
        if ticket.model is not None:
            model = self._models[ticket.model]
            others = (one for one in [*model.holders.values(), *self._waiting] if one.model == ticket.model)
            if all(one.user != ticket.user for one in others):
                model.turns.pop(ticket.user, None)

    def _leave_slot(self, ticket: Ticket) -> None:
        if ticket.model is None or ticket.slot is None:
            return
        del self._models[ticket.model].holders[ticket.slot]
        ticket.slot = None
