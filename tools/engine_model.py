# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the slots and the host cache of a llama-server hold, by its own rules, for the simulation.

They are those of server-context.cpp and server-task.cpp (``--slot-prompt-similarity``, ``--cache-ram``, ``--cache-idle-slots``):
what a slot holds is kept where it is similar enough, else saved to the host cache, from which the best entry is moved into the
slot; the host cache drops what was saved first. Pure: time comes as ``now``, in seconds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "roles" / "router" / "files"))

from copilot_router.conversations import Chain, shared

KEPT = 0.5  # of a slot: where less of it would be kept, llama-server saves it and looks into the host cache
WORTH_MOVING = 0.25  # of an entry of the host cache


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

    def launch(self, slot: int, chain: Chain, idle: Sequence[int], now: float) -> int:
        """Puts a prompt, of at least one token, into a slot that is idle. Returns how many of its tokens were held.

        :param idle: all slots without a request; they are saved, too.
        """
        own = self.slots[slot]
        common = own.common(chain) if own is not None else 0
        if own is not None:
            keeps = common / max(1, own.tokens)
            if common / chain.size <= self.similarity or keeps < KEPT:
                self._save(own)
                best = self._best(chain, keeps, common / chain.size)
                if best is not None:
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
