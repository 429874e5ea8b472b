# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Chooses the backend with the soonest answer, in seconds: counts cached tokens, and what other conversations lose."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .conversations import Chain
from .holdings import NOTHING, RETURNS, Begun, Found, Holdings, Index
from .policy import LeastBusy, Policy
from .pool import Candidate, Lease, Outcome, Request
from .speeds import Speeds
from .tokens import Timings

UNKNOWN = Speeds()
NEAR = 1.0  # seconds: smaller differences are ignored


@dataclass(slots=True)
class _Work:
    """The expected work of a backend."""

    under_way: int = 0  # in-flight requests
    computes_until: float = 0.0  # time until which their prompts are processed, one after the other


@dataclass(slots=True)
class _Place:
    """A model of a backend."""

    holdings: Holdings
    told: bool = False  # whether the backend reports what it holds
    under_way: dict[Lease, Begun] = field(default_factory=dict)


class Warmest(Policy):
    """The least seconds until the answer begins: work before it, what of the prompt is not held, what others lose.

    A prompt is recognised by the ends of earlier ones. So what many share, tools and instructions, attracts nobody. What a
    backend says to hold is believed; of one that says nothing, what was sent there is remembered.
    """

    def __init__(self) -> None:
        self._index = Index()
        self._places: dict[tuple[str, str], _Place] = {}  # backend and model
        self._work: dict[str, _Work] = {}
        self._usual: dict[str, Speeds] = {}  # model -> speeds of the last backend with known ones
        self._blind = LeastBusy()
        self._reason = ""

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        """Returns the candidate with the least cost; of a request without a chain the least busy one."""
        chain = request.prompt
        if not isinstance(chain, Chain) or not chain.marks:
            self._reason = "load"
            return self._blind.choose(candidates, request, now)
        there = {place: place.believed(found) for place, found in self._index.find(chain).items()}
        costs, best = [], 0
        usual = self._usual.get(request.model, UNKNOWN)
        for one in candidates:
            holdings = self._of(one.backend.id, request.model).holdings
            known = there.get(holdings, NOTHING)
            best = max(best, known.tokens)
            costs.append((self._cost(one, holdings, chain, known, usual, now), one, holdings))
        least = min(seconds for seconds, _one, _holdings in costs) + NEAR
        equal = [(one, holdings) for seconds, one, holdings in costs if seconds <= least]
        chosen, held = _first(equal, request, there) if len(equal) > 1 else equal[0]
        self._reason = "cold" if not best else "warm" if there.get(held, NOTHING).tokens == best else "moved"
        return chosen

    def on_acquired(self, lease: Lease) -> None:
        """Counts the prompt as held at once, so that the next decision takes it into account."""
        lease.reason = self._reason
        request, chain = lease.request, lease.request.prompt
        if not isinstance(chain, Chain) or not chain.marks:
            return
        place, work = self._of(lease.backend.id, request.model), self._work_of(lease.backend.id)
        begun = place.holdings.begin(chain, lease.since, kept=request.kept)
        place.under_way[lease] = begun
        known = place.holdings.believed(begun.known)
        lease.expected = known.tokens
        work.under_way += 1
        speeds = place.holdings.speeds if place.holdings.speeds.known else self._usual.get(request.model, UNKNOWN)
        seconds = speeds.prompt_seconds(known.tokens, begun.tokens)
        work.computes_until = max(work.computes_until, lease.since) + seconds

    def on_answered(self, lease: Lease, said: Timings, now: float) -> None:
        """Learns from the timings of a backend that does not report its state."""
        place = self._places.get((lease.backend.id, lease.request.model))
        begun = place.under_way.get(lease) if place is not None else None
        if place is not None and begun is not None and not place.told:
            place.holdings.answered(begun, said, now)
            self._learn(lease.request.model, place.holdings.speeds)

    def on_released(self, lease: Lease, outcome: Outcome, now: float) -> None:
        """Takes its work away. A backend that failed, and says nothing itself, may have lost everything."""
        place = self._places.get((lease.backend.id, lease.request.model))
        if place is None or place.under_way.pop(lease, None) is None:
            return
        work = self._work_of(lease.backend.id)
        work.under_way = max(0, work.under_way - 1)
        if not work.under_way:
            work.computes_until = now
        if outcome is not Outcome.SUCCESS and place.told:
            place.holdings.doubt()
        elif outcome is Outcome.FAILURE:
            place.holdings.clear()

    def keep(self, backend_ids: Collection[str]) -> None:
        """Forgets all other backends: they have left the pool."""
        for name, model in [known for known in self._places if known[0] not in backend_ids]:
            self._places.pop((name, model)).holdings.clear()
            self._work.pop(name, None)

    def believe(self, backend_id: str, said: Mapping[str, Any], clock: float) -> None:
        """Takes what a backend says to hold, by model. What was sent there and has not ended is held, too: it will say so.

        :param clock: seconds by which the backend's clock is before the one that ``now`` is of.

        Raises ValueError, KeyError, TypeError or AttributeError when it is something else.
        """
        for model, one in said.items():
            place = self._of(backend_id, model)
            place.holdings.believe(one, clock)
            place.told = True
            self._learn(model, place.holdings.speeds)
            for lease, begun in place.under_way.items():
                if begun.kept and not place.holdings.tokens_at(begun.chain.marks[-1]):
                    place.holdings.note(begun.chain, begun.tokens, 0, lease.since)

    def speeds(self, backend_id: str, model: str) -> Speeds:
        """Returns the learnt speeds of a backend."""
        return self._of(backend_id, model).holdings.speeds

    def _learn(self, model: str, speeds: Speeds) -> None:
        if speeds.known:
            self._usual[model] = speeds

    def _cost(self, one: Candidate, holdings: Holdings, chain: Chain, known: Found, usual: Speeds, now: float) -> float:
        """Returns the seconds that a candidate costs.

        :param usual: how fast it is believed to be while nothing is known of that.
        """
        tokens = holdings.estimate(chain, known)
        speeds = holdings.speeds if holdings.speeds.known else usual
        seconds = speeds.prompt_seconds(known.tokens, tokens)
        work = self._work_of(one.backend.id)
        if work.computes_until > now:  # prompts one after the other
            seconds += work.computes_until - now
        if (over := one.load - one.backend.slots + 1) > 0:
            seconds += over * speeds.answer_seconds / one.backend.slots
        if holdings.tokens + tokens - known.tokens > holdings.room:
            seconds += speeds.prompt_seconds(0, _lost(holdings, tokens - known.tokens, now))
        return seconds

    def _of(self, backend_id: str, model: str) -> _Place:
        place = self._places.get((backend_id, model))
        if place is None:
            place = self._places[backend_id, model] = _Place(Holdings(self._index))
        return place

    def _work_of(self, backend_id: str) -> _Work:
        work = self._work.get(backend_id)
        if work is None:
            work = self._work[backend_id] = _Work()
        return work


def _lost(holdings: Holdings, tokens: int, now: float) -> float:
    """Returns the tokens that conversations are expected to lose when so many more are held than there is room for.

    What lies deeper than there is room for is lost already.
    """
    lost = min(tokens, holdings.tokens + tokens - holdings.room)
    used = holdings.used_at(max(0, holdings.room - tokens))
    return lost / (1 + max(0.0, now - used) / RETURNS)


def _first(
    equal: Sequence[tuple[Candidate, Holdings]], request: Request, there: Mapping[Holdings, Found]
) -> tuple[Candidate, Holdings]:
    """Chooses among what costs the same: a free slot, what is held, requests, conversations, and then as every balancer does.

    Where nobody is expected to go on, the start of the prompt decides: who completes what is typed sends that again.
    """
    found: list[tuple[Candidate, Holdings]] = []
    least = (True, 0, math.inf, math.inf)
    for one, holdings in equal:
        slots = one.backend.slots
        tokens = there.get(holdings, NOTHING).tokens
        order = (one.load >= slots, -tokens, one.load / slots, len(holdings) / slots if request.kept else 0.0)
        if order < least:
            found, least = [], order
        if order == least:
            found.append((one, holdings))
    mark = request.prompt.marks[-1 if request.kept else 0]
    return min(found, key=lambda pair: _rank(mark, pair[0].backend.id)) if len(found) > 1 else found[0]


def _rank(start: bytes, backend_id: str) -> bytes:
    """Returns what orders backends for a conversation in the same way at each balancer: rendezvous hashing."""
    return hashlib.blake2b(start + backend_id.encode(), digest_size=8).digest()
