# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The conversations that a model of a llama-server holds in its slots and its prompt cache, and the model's speed.

The server's router maintains it, corrects it with the timings of answers, and reports it to balancers. Pure: time is ``now``.
"""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .conversations import Chain
from .speeds import Speeds
from .tokens import Timings

MOST = 64  # conversations of a model on a server; the least recently used one is dropped first
MOST_ENDS = 4  # per conversation: after an edit, a prompt continues from the end of an earlier one
FORGOTTEN = 7200.0  # seconds after which an idle conversation is not expected to be held
# Probability that a conversation continues after t idle seconds: 1 / (1 + t / RETURNS). Fitted to 710 sessions of an agent.
RETURNS = 900.0
USUAL_ROOM = 131_072  # tokens, until it is learnt
# Weights of one answer in the estimate of the room. The oldest is not always dropped first, so a loss counts less.
LEARN_MORE, LEARN_LESS = 0.3, 0.1
GONE = 0.5  # share of the expected tokens beyond the common prefix of all conversations: with less, the rest had been lost
COMMON = 0.3  # weight of one new conversation in the estimate of that prefix
TELLING = 256  # minimum of tokens beyond that prefix for a conversation to count
NEAR = 16  # tokens by which llama-server's count of a conversation may differ from ours

# For each conversation, newest first: its depth and the time of its last use; then the first one by its newest end.
Layers = tuple[list[int], list[float], dict[bytes, int]]
End = tuple[bytes, int]  # the mark of a prompt's end, and the tokens of the prompt


@dataclass(frozen=True, slots=True)
class Held:
    """A conversation.

    :param ends: of its prompts, the newest first.
    :param tokens: of the newest, with its answer.
    :param used: when, in seconds since 1970 by the server's clock.
    """

    ends: tuple[End, ...]
    tokens: int
    used: float


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a prompt.

    :param tokens: that are held.
    :param characters: the same, of the prompt's chain.
    :param deep: tokens that were used since, with its own.
    """

    tokens: int = 0
    characters: int = 0
    deep: int = 0


NOTHING = Found()


@dataclass(frozen=True, slots=True)
class Begun:
    """A prompt that is being computed.

    :param tokens: of all of it, as far as that can be known.
    """

    chain: Chain
    known: Found
    tokens: int
    kept: bool


class Index:
    """An index of the prompts' last marks."""

    def __init__(self) -> None:
        self._places: dict[bytes, dict[Holdings, None]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def find(self, chain: Chain) -> dict[Holdings, Found]:
        """Returns who holds how much of a prompt. Shared tools and instructions do not count: no prompt ends there."""
        found: dict[Holdings, Found] = {}
        for mark, end in zip(reversed(chain.marks), reversed(chain.ends), strict=True):
            for place in self._places.get(mark, ()):
                if place not in found:
                    found[place] = Found(place.tokens_at(mark), end, place.depth_of(mark))
        return found

    def add(self, mark: bytes, place: Holdings) -> None:
        """Notes that it is there."""
        self._places.setdefault(mark, {})[place] = None

    def remove(self, mark: bytes, place: Holdings) -> None:
        """Notes that it is not there any more."""
        there = self._places.get(mark)
        if there is not None:
            there.pop(place, None)
            if not there:
                del self._places[mark]


class Holdings:
    """The conversations that one model of one server holds.

    :param index: of all that is to be found together; it knows what is held here.
    """

    def __init__(self, index: Index) -> None:
        self.speeds, self.room, self.tokens = Speeds(), USUAL_ROOM, 0
        self._common = 0.0  # cached tokens of new conversations: the prefix that all have in common
        self._index = index
        self._held: OrderedDict[bytes, Held] = OrderedDict()  # by the newest end, least recently used first
        self._ends: dict[bytes, Held] = {}  # by all ends
        self._lost: list[Held] = []  # by the last restart of the engine
        self._believed: Any = None
        self._known_layers: Layers | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        """Yields them, used longest ago first."""
        return iter(self._held.values())

    def tokens_at(self, mark: bytes) -> int:
        """Returns how many tokens a prompt that ends so has; 0 if it is not held."""
        held = self._ends.get(mark)
        return next((tokens for end, tokens in held.ends if end == mark), 0) if held is not None else 0

    def depth_of(self, mark: bytes) -> int:
        """Returns how many tokens were used since a prompt that ends so, with its own."""
        return self._layers()[2][self._ends[mark].ends[0][0]]

    def used_at(self, deep: int) -> float:
        """Returns when what lies so many tokens deep was used, the newest on top; of nothing, when the oldest was."""
        depths, used, _of = self._layers()
        return used[min(bisect.bisect_right(depths, deep), len(used) - 1)] if used else 0.0

    def _layers(self) -> Layers:
        if self._known_layers is None:
            held = list(reversed(self._held.values()))
            depths = [*itertools.accumulate(one.tokens for one in held)]
            self._known_layers = (
                depths,
                [one.used for one in held],
                {one.ends[0][0]: deep for one, deep in zip(held, depths, strict=True)},
            )
        return self._known_layers

    def believed(self, known: Found) -> Found:
        """Returns what is believed to be held still: what is deeper than there is room for is lost."""
        return known if known.deep <= self.room else NOTHING

    def estimate(self, chain: Chain, known: Found) -> int:
        """Returns how many tokens a prompt has, by those that are known."""
        return known.tokens + max(1, round((chain.size - known.characters) * self.speeds.tokens_per_character))

    def seconds(self, chain: Chain) -> float:
        """Returns how long a prompt would take here now, without what is believed to be held of it."""
        known = self.believed(self._index.find(chain).get(self, NOTHING))
        return self.speeds.prompt_seconds(known.tokens, self.estimate(chain, known))

    def note(self, chain: Chain, tokens: int, answer: int, now: float) -> None:
        """Notes that a prompt is computed here, or was. It takes the place of the one that it grew out of.

        :param tokens: of the prompt.
        :param answer: of its answer.
        """
        new = chain.marks[-1]
        older: tuple[End, ...] = ()
        for mark in reversed(chain.marks):
            held = self._ends.get(mark)
            if held is not None:
                place = next(number for number, end in enumerate(held.ends) if end[0] == mark)
                older = tuple(end for end in held.ends[place:] if end[0] != new)
                if place == 0:
                    self._drop(held)
                break
        self._put(Held(((new, tokens), *older)[:MOST_ENDS], tokens + answer, now))
        while len(self._held) > MOST or now - next(iter(self)).used > FORGOTTEN:
            self._drop(next(iter(self)))

    def begin(self, chain: Chain, now: float, *, kept: bool = True) -> Begun:
        """Records at once that a prompt is processed here, so that the next decision takes it into account.

        :param kept: nobody is expected to go on with it where this is false, and it is not noted.
        """
        known = self._index.find(chain).get(self, NOTHING)
        tokens = self.estimate(chain, known)
        if kept:
            self.note(chain, tokens, 0, now)
        return Begun(chain, known, tokens, kept)

    def answered(self, begun: Begun, said: Timings, now: float) -> None:
        """Records the timings of an answer."""
        size = begun.chain.size
        self.speeds.learn(size, said.cached, said.computed, said.prompt_ms, said.answer, said.answer_ms)
        if not begun.known.tokens:
            self._common += (COMMON if self._common else 1.0) * (said.cached - self._common)
        elif (own := begun.known.tokens - self._common) >= TELLING:  # it tells whether there was room for everything used since
            lost = said.cached - self._common < GONE * own
            room = min(self.room, begun.known.deep) if lost else max(self.room, begun.known.deep)
            self.room += round((LEARN_LESS if lost else LEARN_MORE) * (room - self.room))
            self.room = max(self.room, said.cached + said.computed)
        if begun.kept:
            self.note(begun.chain, said.cached + said.computed, said.answer, now)

    def clear(self) -> None:
        """Forgets everything: the engine restarted, or its model was unloaded. ``restored`` brings back some of it."""
        self._lost = list(self) or self._lost
        self._empty()

    def restored(self, tokens: Iterable[int]) -> int:
        """Records that the engine restarted, and holds only those conversations again that have so many tokens.

        Returns how many conversations these are.
        """
        known, found = [*self._lost, *self], []
        for number in tokens:
            near = min(known, key=lambda held: abs(held.tokens - number), default=None)
            if near is not None and abs(near.tokens - number) <= NEAR:
                known.remove(near)
                found.append(near)
        self._lost = []
        self._empty()
        for held in sorted(found, key=lambda held: held.used):
            self._put(held)
        return len(found)

    def _empty(self) -> None:
        for held in list(self):
            self._drop(held)
        self._believed = None

    def doubt(self) -> None:
        """Has what the server says next believed, even if it says the same again."""
        self._believed = None

    def _put(self, held: Held) -> None:
        if (other := self._held.get(held.ends[0][0])) is not None:
            self._drop(other)
        self._held[held.ends[0][0]] = held
        self._known_layers = None
        self.tokens += held.tokens
        for mark, _tokens in held.ends:
            self._ends[mark] = held
            self._index.add(mark, self)

    def _drop(self, held: Held) -> None:
        del self._held[held.ends[0][0]]
        self._known_layers = None
        self.tokens -= held.tokens
        for mark, _tokens in held.ends:
            if self._ends.get(mark) is held:
                del self._ends[mark]
                self._index.remove(mark, self)

    # The report to balancers, and its reading.

    def said(self) -> dict[str, Any]:
        """Returns all of it in JSON's words."""
        return {
            "room": self.room,
            "speeds": self.speeds.said(),
            "held": [[round(one.used, 1), one.tokens, *([mark.hex(), tokens] for mark, tokens in one.ends)] for one in self],
        }

    def believe(self, said: Mapping[str, Any], ahead: float) -> None:
        """Replaces the contents with a server's report.

        Raises ValueError, KeyError or TypeError, and keeps that, when it is something else.

        :param ahead: seconds by which the server's clock is before ours.
        """
        room, speeds = int(said["room"]), Speeds.read(said["speeds"])
        found = None if said["held"] == self._believed else [_read(one, ahead) for one in said["held"][-MOST:]]
        self.room, self.speeds = room, speeds
        if found is not None:
            self._empty()
            self._believed = said["held"]
            for held in found:
                self._put(held)


def _read(said: Any, ahead: float) -> Held:
    used, tokens, *ends = said
    if not 0 < len(ends) <= MOST_ENDS:
        raise ValueError("a conversation has other ends than it may have")
    return Held(tuple((bytes.fromhex(mark), int(number)) for mark, number in ends), int(tokens), float(used) - ahead)
