# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which waiting request gets which free slot of a model: all that speaks for and against one, in seconds. Pure.

A request goes first that costs the least (its prompt, less what the slot holds of it, and what others lose), whose developer used
little lately, and that has waited for long. Each second of waiting counts as one, so that nobody waits for ever; who has waited
for ``STARVED`` comes before all who have not, oldest first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .conversations import Chain
from .warmth import Price, Warmth

STARVED = 1200.0  # seconds
SHARE = 0.3  # what a second that a developer used lately counts beside one that the request takes
LOOKED_AT = 16  # of those that wait; each look takes some 50 microseconds
HALF = 300.0  # seconds after which half of what a developer used is forgotten
BETTER = 2.0  # seconds by which a slot that is busy must be quicker than a free one, to be waited for
EMPTY = 0.5  # seconds that an empty slot may cost more than one that is not: there nothing can be lost by mistake
NOTHING = Chain((b"",), (1,))  # the prompt of a request of which nothing is known


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that waits.

    :param arrived: seconds of ``now``.
    """

    chain: Chain
    user: str
    arrived: float


class Shares:
    """How many seconds of slots each developer used lately."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[float, float]] = {}  # user -> seconds, and when that was so

    def add(self, user: str, seconds: float, now: float) -> None:
        """Notes that a developer used a slot. Who used nearly nothing any more is forgotten."""
        self._used[user] = (self.of(user, now) + seconds, now)
        if len(self._used) > 1000:
            self._used = {name: pair for name, pair in self._used.items() if self.of(name, now) > 1}

    def of(self, user: str, now: float) -> float:
        """Returns how much that is."""
        seconds, then = self._used.get(user, (0.0, now))
        return seconds * math.exp2((then - now) / HALF)


@dataclass(frozen=True, slots=True)
class Choice:
    """Who gets which slot, and what that costs."""

    wish: int
    slot: int
    price: Price


def choose(
    wishes: Sequence[Wish], free: Collection[int], busy: Mapping[int, float], warmth: Warmth, shares: Shares, now: float
) -> Choice | None:
    """Returns who is next; None: nobody is, or whoever waits does better to wait for a slot that is busy.

    :param wishes: oldest first, with chains in tokens.
    :param busy: slot -> when it is likely to be free, in seconds of ``now``.
    """
    found = []
    idle = sorted(free)
    for number, wish in enumerate(wishes[:LOOKED_AT]):
        prices = [(warmth.price(slot, wish.chain, idle, now), slot) for slot in idle]
        price, slot = min(prices, key=lambda pair: (pair[0].seconds - EMPTY * (not warmth.full(pair[1])), pair[1]))
        waited = now - wish.arrived
        if waited < STARVED and price.compute > BETTER and _waits(wish, price, busy, warmth, idle, now):
            continue
        rank = (-waited if waited >= STARVED else 0.0, price.seconds + SHARE * shares.of(wish.user, now) - waited)
        found.append((rank, number, Choice(number, slot, price)))
    return min(found, key=lambda one: one[:2])[2] if found else None


def _waits(wish: Wish, price: Price, busy: Mapping[int, float], warmth: Warmth, idle: Sequence[int], now: float) -> bool:
    """Returns whether a busy slot serves the request sooner, and costs less, than any that is free."""
    for slot, end in busy.items():
        there = warmth.price(slot, wish.chain, [*idle, slot], now)
        if abs(end - now) + there.seconds + BETTER < price.seconds:  # who is late takes as long again
            return True
    return False
