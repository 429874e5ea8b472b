# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Chooses the backend that answers soonest, counting what it holds of the prompt and what others lose. All in seconds."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .conversations import Chain
from .policy import LeastBusy, Policy
from .pool import Candidate, Lease, Outcome, Request
from .speeds import Speeds
from .warmth import RETURNS

MOST_TURNS = 100_000  # that are remembered, of all backends: some 40 MB
MOST_BACKENDS = 1000
NEAR = 1.0  # seconds: what differs by less is equal


@dataclass(slots=True)
class _Kept:
    """A conversation at a backend.

    :param end: the mark of its last prompt.
    :param characters: of that prompt.
    """

    end: bytes
    characters: int
    used: float


@dataclass(slots=True)
class _Backend:
    """What a backend is believed to hold and to do."""

    kept: OrderedDict[bytes, _Kept] = field(default_factory=OrderedDict)  # by ``end``; used longest ago first
    characters: int = 0  # of all of them
    under_way: int = 0  # requests that were sent there and have not ended
    computes_until: float = 0.0  # their prompts, one after the other
    speeds: Speeds = field(default_factory=Speeds)

    def seconds(self, held: float, end: float) -> float:
        """Returns how long a prompt takes from what is held to its end, both in characters."""
        rate = self.speeds.tokens_per_character
        return self.speeds.prompt_seconds(held * rate, end * rate)


class Warmest(Policy):
    """The least seconds until the answer begins: work before it, what of the prompt is not held, what others lose.

    A prompt is recognised by the ends of earlier ones. So what many share, tools and instructions, attracts nobody.

    :param room: tokens that a backend's slots and host cache hold.
    """

    def __init__(self, room: int = 131_072) -> None:
        self._room = room
        self._turns: OrderedDict[bytes, dict[str, None]] = OrderedDict()  # the end of a prompt -> backends that hold it
        self._backends: OrderedDict[str, _Backend] = OrderedDict()  # known for longest first
        self._blind = LeastBusy()

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        """Returns the candidate with the least cost; of a request without a chain the least busy one."""
        chain = request.prompt
        if not isinstance(chain, Chain) or not chain.marks:
            return self._blind.choose(candidates, request, now)
        held, there = self._find(chain)

        def cost(one: Candidate) -> float:
            backend = self._of(one.backend.id)
            known = held if one.backend.id in there else 0
            loss = self._loss(backend, chain.size - known, now)
            return backend.seconds(known, chain.size) + backend.seconds(0, loss) + _before(backend, one, now)

        costs = [(cost(one), one) for one in candidates]
        least = min(seconds for seconds, _one in costs) + NEAR
        equal = [one for seconds, one in costs if seconds <= least]
        if len(equal) == 1:
            return equal[0]
        start = chain.marks[min(len(chain.marks), 4) - 1]
        return min(equal, key=lambda one: (self._of(one.backend.id).characters // 100_000, _rank(start, one.backend.id)))

    def on_acquired(self, lease: Lease) -> None:
        """Counts the prompt as held at once, so that what follows in the same moment knows of it."""
        chain = lease.request.prompt
        if not isinstance(chain, Chain) or not chain.marks:
            return
        name = lease.backend.id
        backend = self._of(name)
        held, there = self._find(chain)
        backend.under_way += 1
        seconds = backend.seconds(held if name in there else 0, chain.size)
        backend.computes_until = max(backend.computes_until, lease.since) + seconds
        for mark in reversed(chain.marks):  # it grew out of this one
            if mark in backend.kept:
                backend.characters -= backend.kept.pop(mark).characters
                break
        backend.kept[chain.marks[-1]] = _Kept(chain.marks[-1], chain.size, lease.since)
        backend.characters += chain.size
        while len(backend.kept) > 1 and backend.characters * backend.speeds.tokens_per_character > self._room:
            _end, gone = backend.kept.popitem(last=False)
            backend.characters -= gone.characters
            self._forget(gone.end, name)
        self._turns.setdefault(chain.marks[-1], {})[name] = None
        self._turns.move_to_end(chain.marks[-1])
        if len(self._turns) > MOST_TURNS:
            end, places = self._turns.popitem(last=False)
            for place in places:
                if end in self._of(place).kept:
                    self._of(place).characters -= self._of(place).kept.pop(end).characters

    def on_released(self, lease: Lease, outcome: Outcome, now: float) -> None:
        """Takes its work away. A backend that failed may have lost everything."""
        if not isinstance(lease.request.prompt, Chain) or not lease.request.prompt.marks:
            return
        backend = self._of(lease.backend.id)
        backend.under_way = max(0, backend.under_way - 1)
        if not backend.under_way:
            backend.computes_until = now
        if outcome is Outcome.FAILURE:
            self.forget(lease.backend.id)

    def speeds(self, backend_id: str) -> Speeds:
        """Returns what is known of how fast a backend is, to be told what its answers say."""
        return self._of(backend_id).speeds

    def forget(self, backend_id: str) -> None:
        """Notes that a backend holds nothing any more: its engine has started again."""
        backend = self._of(backend_id)
        for end in list(backend.kept):
            self._forget(end, backend_id)
        backend.kept.clear()
        backend.characters = 0

    def _find(self, chain: Chain) -> tuple[int, dict[str, None]]:
        """Returns how many characters of a prompt are known, and where."""
        for mark, end in zip(reversed(chain.marks), reversed(chain.ends), strict=True):
            if there := self._turns.get(mark):
                return end, there
        return 0, {}

    def _loss(self, backend: _Backend, characters: int, now: float) -> float:
        """Returns the characters that conversations there are expected to lose when so many more are held."""
        over = backend.characters + characters - self._room / backend.speeds.tokens_per_character
        lost = 0.0
        for kept in backend.kept.values():
            if over <= 0:
                break
            over -= kept.characters
            lost += kept.characters / (1 + max(0.0, now - kept.used) / RETURNS)
        return lost

    def _of(self, backend_id: str) -> _Backend:
        backend = self._backends.get(backend_id)
        if backend is None:
            backend = self._backends[backend_id] = _Backend()
            if len(self._backends) > MOST_BACKENDS:
                self._backends.popitem(last=False)
        return backend

    def _forget(self, end: bytes, backend_id: str) -> None:
        there = self._turns.get(end)
        if there is not None:
            there.pop(backend_id, None)
            if not there:
                del self._turns[end]


def _before(backend: _Backend, one: Candidate, now: float) -> float:
    """Returns the seconds until a request would begin there: prompts one after the other, and a slot."""
    over = one.load - one.backend.slots + 1
    slot = over * backend.speeds.answer_seconds / one.backend.slots if over > 0 else 0.0
    return max(0.0, backend.computes_until - now) + slot


def _rank(start: bytes, backend_id: str) -> bytes:
    """Returns what orders backends for a conversation in the same way at each balancer: rendezvous hashing."""
    return hashlib.blake2b(start + backend_id.encode(), digest_size=8).digest()
