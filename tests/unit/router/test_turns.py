# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from copilot_router.conversations import Chain
from copilot_router.turns import NOTHING, STARVED, Shares, Wish, choose
from copilot_router.warmth import Warmth

ROOM = 100_000


def chain(name, *tokens):
    ends = [sum(tokens[: number + 1]) for number in range(len(tokens))]
    return Chain(tuple(f"{name}{number}".encode() for number in range(len(tokens))), tuple(ends))


def holding(*chains):
    found = Warmth(len(chains), ROOM, 0.9)
    for slot, one in enumerate(chains):
        found.launch(slot, one, [], float(slot))
    return found


def chosen(wishes, free, warmth, busy=None, shares=None, now=100.0):
    found = choose(wishes, free, busy or {}, warmth, shares or Shares(), now)
    return found and (found.wish, found.slot)


def test_a_request_gets_the_slot_that_holds_its_prompt():
    warmth = holding(chain("a", 9000), chain("b", 9000))
    assert chosen([Wish(chain("b", 9000, 50), "bob", 100.0)], [0, 1], warmth) == (0, 1)


def test_who_needs_little_goes_before_who_came_a_moment_earlier():
    warmth = holding(chain("a", 9000))
    cold, warm = Wish(chain("b", 9000), "bob", 95.0), Wish(chain("a", 9000, 50), "alice", 100.0)
    assert chosen([cold, warm], [0], warmth) == (1, 0)
    assert chosen([Wish(chain("b", 9000), "bob", -200.0), warm], [0], warmth) == (0, 0)


def test_nobody_waits_for_ever():
    warmth = holding(chain("a", 9000))
    cold = Wish(chain("b", 900_000), "bob", 0.0)
    warm = Wish(chain("a", 9000, 50), "alice", STARVED)
    assert chosen([cold, warm], [0], warmth, now=STARVED - 1) == (1, 0)
    assert chosen([cold, warm], [0], warmth, now=STARVED) == (0, 0)


def test_equal_requests_go_in_the_order_of_their_age():
    wishes = [Wish(NOTHING, "", 1.0), Wish(NOTHING, "", 2.0)]
    assert chosen(wishes, [0, 1], Warmth(2, ROOM, 0.9)) == (0, 0)


def test_a_developer_who_used_much_lets_others_go_first():
    shares = Shares()
    shares.add("alice", 600, 100.0)
    wishes = [Wish(chain("a", 600), "alice", 50.0), Wish(chain("b", 600), "bob", 99.0)]
    assert chosen(wishes, [0], Warmth(1, ROOM, 0.9), shares=shares) == (1, 0)
    assert chosen(wishes, [0], Warmth(1, ROOM, 0.9)) == (0, 0)


def test_what_a_developer_used_is_forgotten():
    shares = Shares()
    shares.add("alice", 600, 0.0)
    assert shares.of("alice", 300.0) == 300.0
    for number in range(1001):
        shares.add(f"user {number}", 10, 100_000.0)
    assert "alice" not in shares._used


def test_a_request_waits_for_its_slot_only_while_that_is_quicker():
    """Twins: the second one finds the first one's prompt in a slot that is busy."""
    warmth = holding(chain("a", 9000), chain("x", 9000))
    twin = [Wish(chain("a", 9000, 10), "alice", 100.0)]
    assert chosen(twin, [1], warmth, busy={0: 120.0}) is None
    assert chosen(twin, [1], warmth, busy={0: 400.0}) == (0, 1)


def test_who_waits_for_a_slot_stops_nobody_else():
    warmth = holding(chain("a", 9000), chain("x", 9000))
    wishes = [Wish(chain("a", 9000, 10), "alice", 100.0), Wish(chain("z", 9000), "bob", 100.0)]
    assert chosen(wishes, [1], warmth, busy={0: 120.0}) == (1, 1)


def test_an_empty_slot_is_taken_before_that_of_a_conversation():
    trunk = chain("t", 3000, 3000)
    warmth = Warmth(2, ROOM, 0.9)
    warmth.launch(0, trunk, [], 0.0)
    other = Chain((trunk.marks[0], b"other"), trunk.ends)
    assert chosen([Wish(other, "bob", 100.0)], [0, 1], warmth) == (0, 1)
