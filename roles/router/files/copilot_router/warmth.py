# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the slots and the host cache of a llama-server hold, by its own rules, and what it costs to give a request a slot.

The rules are those of server-context.cpp and server-task.cpp (``--slot-prompt-similarity``, ``--cache-ram``,
``--cache-idle-slots``): what a slot holds is kept where it is similar enough, else saved to the host cache, from which the best
entry is moved into the slot; the host cache drops what was saved first. Pure: time comes as ``now``, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .conversations import Chain, shared
from .speeds import Speeds

KEPT = 0.5  # of a slot: where less of it would be kept, llama-server saves it and looks into the host cache
WORTH_MOVING = 0.25  # of an entry of the host cache
# Whether a conversation that has been silent for t seconds goes on: 1 / (1 + t / RETURNS). Fits 710 sessions of an agent.
RETURNS = 900.0
SEEN = 0.9  # of what was expected: less was not there
COPIED = 150.0  # times quicker than computing: into the host cache or out of it, while all slots stand still


@dataclass(frozen=True, slots=True)
class Held:
    """What a slot, or an entry of the host cache, holds.

    :param chain: the prompt, in tokens.
    :param tokens: with the answer, of which there is no mark.
    :param used: when, in seconds of ``now``.
    """

    chain: Chain
    tokens: int
    used: float

    def common(self, chain: Chain) -> int:
        """Returns how many tokens of a prompt are held here. What follows the whole of this prompt is its answer."""
        number = shared(self.chain.marks, chain.marks)
        if number == 0:
            return 0
        if number == len(self.chain.marks) < len(chain.marks):
            return min(self.tokens, chain.ends[number])
        return min(self.chain.ends[number - 1], chain.ends[number - 1])

    def contains(self, other: Held) -> bool:
        """Returns whether all of the other is here."""
        if other.chain.marks == self.chain.marks:
            return other.tokens <= self.tokens
        number = len(other.chain.marks)
        return number < len(self.chain.marks) and shared(self.chain.marks, other.chain.marks) == number


class Store:
    """Slots and host cache of one model: exactly what llama-server does with what it is given.

    :param room: tokens that the host cache holds; 0: there is none.
    :param similarity: ``--slot-prompt-similarity``.
    """

    def __init__(self, slots: int, room: int, similarity: float) -> None:
        self.slots: list[Held | None] = [None] * slots
        self.host: list[Held] = []  # saved first, dropped first
        self.room, self.similarity = room, similarity
        self.moved: dict[
            int, int
        ] = {}  # slot -> tokens of the entry that came into it last, and of all that were saved after that

    def copy(self) -> Store:
        """Returns another one that holds the same."""
        other = Store(0, self.room, self.similarity)
        other.slots, other.host = list(self.slots), list(self.host)
        return other

    @property
    def everything(self) -> list[Held]:
        """All that is held."""
        return [one for one in self.slots if one is not None] + self.host

    def launch(self, slot: int, chain: Chain, idle: Sequence[int], now: float) -> int:
        """Puts a prompt, of at least one token, into a slot that is idle. Returns how many of its tokens were held.

        :param idle: all slots without a request; they are saved, too.
        """
        own = self.slots[slot]
        self.moved.pop(slot, None)
        common = own.common(chain) if own is not None else 0
        if own is not None:
            keeps = common / max(1, own.tokens)
            if common / chain.size <= self.similarity or keeps < KEPT:
                self._save(own)
                best = self._best(chain, keeps, common / chain.size)
                if best is not None:
                    self.moved[slot] = sum(one.tokens for one in self.host[self.host.index(best) :])
                    self.host.remove(best)
                    common = best.common(chain)
        for other in idle:
            kept = self.slots[other]
            if other != slot and kept is not None:
                self._save(kept)
        self.make_room()
        self.slots[slot] = Held(chain, chain.size, now)
        return min(common, chain.size - 1)

    def place(self, chain: Chain, idle: Sequence[int]) -> int:
        """Returns which idle slot llama-server itself takes: the most similar one, else the one that was used longest ago."""
        found = [(one.common(chain) / chain.size, slot) for slot in idle if (one := self.slots[slot]) is not None]
        similar = max(found, key=lambda pair: (pair[0], -pair[1]), default=(0.0, 0))
        if similar[0] > self.similarity > 0:
            return similar[1]
        used = {slot: held.used if (held := self.slots[slot]) is not None else -math.inf for slot in idle}
        return min(idle, key=lambda slot: used[slot])

    def _best(self, chain: Chain, keeps: float, similar: float) -> Held | None:
        best = None
        for entry in self.host:
            common = entry.common(chain)
            kept, like = common / max(1, entry.tokens), common / chain.size
            if kept >= WORTH_MOVING and kept > keeps and like > similar:
                best, keeps, similar = entry, kept, like
        return best

    def _save(self, held: Held) -> None:
        if held.tokens > self.room or any(one.contains(held) for one in self.host):
            return
        self.host = [one for one in self.host if not held.contains(one)]
        self.host.append(held)

    def make_room(self) -> None:
        """Drops what does not fit."""
        total = sum(one.tokens for one in self.host)
        while total > self.room:
            total -= self.host.pop(0).tokens


@dataclass(frozen=True, slots=True)
class Price:
    """What a slot costs a request, in seconds.

    :param held: tokens of the prompt that need not be computed.
    :param compute: the rest of it.
    :param loss: what others are expected to compute again because of it, and what is copied.
    """

    held: int
    compute: float
    loss: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.compute + self.loss


class Warmth:
    """What is believed of one model of a llama-server, and corrected by its answers."""

    def __init__(self, slots: int, room: int, similarity: float, speeds: Speeds | None = None) -> None:
        """See ``Store``."""
        self.speeds = speeds or Speeds()
        self._store, self._room = Store(slots, room, similarity), room
        self.predicted = self.cached = 0  # tokens, of all answers

    def clear(self) -> None:
        """Forgets what is held: the engine has started again, or its model was unloaded."""
        self._store = Store(len(self._store.slots), self._room, self._store.similarity)

    @property
    def slots(self) -> int:
        """How many there are."""
        return len(self._store.slots)

    def full(self, slot: int) -> bool:
        """Returns whether a slot is believed to hold anything."""
        return self._store.slots[slot] is not None

    def resize(self, slots: int) -> None:
        """Notes another number of slots."""
        held = self._store.slots
        self._store.slots = held[:slots] + [None] * (slots - len(held))

    def in_tokens(self, chain: Chain) -> Chain:
        """Returns a chain that has sizes in characters with sizes in tokens: known ones where it is known, else estimated."""
        number, known = 0, None
        for held in self._store.everything:
            count = shared(held.chain.marks, chain.marks)
            if count > number:
                number, known = count, held
        tokens, characters = (known.chain.ends[number - 1], chain.ends[number - 1]) if known is not None else (0, 0)
        rate = self.speeds.tokens_per_character
        rest = (tokens + max(1, round((end - characters) * rate)) for end in chain.ends[number:])
        return Chain(chain.marks, (*(known.chain.ends[:number] if known is not None else ()), *rest))

    def price(self, slot: int, chain: Chain, idle: Sequence[int], now: float) -> Price:
        """Returns what a slot costs. It may still be busy: then by what it holds once it is not.

        :param chain: in tokens, of at least one.
        """
        after = self._store.copy()
        held = after.launch(slot, chain, idle, now)
        kept = {id(one) for one in after.everything}
        here = {id(one) for one in self._store.host}
        loss = 0.0
        for lost in self._store.everything:
            if id(lost) not in kept:
                rest = max(
                    (one.common(lost.chain) if not one.contains(lost) else lost.tokens for one in after.everything), default=0
                )
                loss += self.speeds.prompt_seconds(rest, lost.tokens) / (1 + max(0.0, now - lost.used) / RETURNS)
        swapped = sum(one.tokens for one in after.host if id(one) not in here)
        # An empty slot computes once what all share, sooner or later: that is no reason to take the slot of a conversation.
        spare = 0 if self.full(slot) else max((one.common(chain) for one in self._store.slots if one is not None), default=0)
        compute = self.speeds.prompt_seconds(max(held, spare), chain.size)
        return Price(held, compute, loss + self.speeds.prompt_seconds(0, swapped) / COPIED)

    def launch(self, slot: int, chain: Chain, idle: Sequence[int], now: float) -> int:
        """Notes that a request was given a slot. Returns how many of its tokens are believed to be held."""
        return self._store.launch(slot, chain, idle, now)

    def answered(self, slot: int, believed: int, cache_n: int, prompt_n: int, predicted_n: int, now: float) -> None:
        """Notes the end of a request by what its answer says.

        :param believed: what ``launch`` returned.
        """
        self.predicted += believed
        self.cached += cache_n
        moved = self._store.moved.pop(slot, 0)
        if moved and cache_n < SEEN * believed:  # it was not in the host cache any more, which is smaller than was thought
            self._store.room = min(self._store.room, moved - 1)
            self._store.make_room()
        held = self._store.slots[slot]
        if held is None:
            return
        total = max(1, cache_n + prompt_n)
        scale = total / max(1, held.chain.size)
        ends = tuple(max(1, round(end * scale)) for end in held.chain.ends)
        self._store.slots[slot] = Held(Chain(held.chain.marks, ends), total + predicted_n, now)

    def left(self, slot: int, now: float) -> None:
        """Notes that a request ended without an answer: what was computed of it stays, and nobody knows how much that is."""
        held = self._store.slots[slot]
        if held is not None:
            self._store.slots[slot] = Held(held.chain, held.tokens, now)

    def holds(self, chain: Chain) -> int:
        """Returns how many tokens of a prompt the best slot or entry holds."""
        return max((one.common(chain) for one in self._store.everything), default=0)
