# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is believed of slots and host cache, by llama-server's rules."""

from __future__ import annotations

import pytest
from copilot_router.conversations import Chain
from copilot_router.speeds import USUAL_PROMPT, Speeds
from copilot_router.warmth import COPIED, Held, Store, Warmth

TRUNK = 1000


def prompt(name, *tokens):
    """A prompt that begins with the common trunk, in tokens."""
    ends = [TRUNK]
    for number in tokens:
        ends.append(ends[-1] + number)
    return Chain((b"trunk", *(f"{name}{number}".encode() for number in range(len(tokens)))), tuple(ends))


def store(*slots, room=100_000, similarity=0.9, host=()):
    found = Store(len(slots), room, similarity)
    found.slots = [one and Held(one, one.size, float(used)) for used, one in enumerate(slots)]
    found.host = [Held(one, one.size, 0.0) for one in host]
    return found


def names(found):
    return [one.chain.marks[-1] for one in found.host]


def test_the_next_turn_has_what_is_held_and_the_answer():
    held = Held(prompt("a", 500), 1700, 0.0)
    assert held.common(prompt("a", 500, 200, 300)) == 1700
    assert held.common(prompt("a", 500, 150, 300)) == 1650  # another answer came back than was given
    assert held.common(prompt("b", 500)) == TRUNK
    assert held.common(prompt("a", 500)) == 1500


def test_a_similar_slot_is_cut_and_nothing_is_saved():
    found = store(prompt("a", 9000), None)
    assert found.launch(0, prompt("a", 9000, 500), [0, 1], 1.0) == 10_000
    assert found.host == []


def test_another_conversation_saves_what_the_slot_held_and_keeps_the_trunk():
    found = store(prompt("a", 500), None)
    assert found.launch(0, prompt("b", 500), [0, 1], 1.0) == TRUNK
    assert names(found) == [b"a0"]


def test_what_llama_server_would_do_by_itself_is_lost_unsaved():
    found = store(prompt("a", 500), None, similarity=0.1)
    found.launch(0, prompt("b", 500), [0, 1], 1.0)
    assert found.host == []


def test_an_entry_is_moved_out_of_the_host_cache():
    found = store(prompt("a", 500), host=[prompt("b", 500)])
    assert found.launch(0, prompt("b", 500, 100), [0], 1.0) == 1500
    assert names(found) == [b"a0"]


def test_an_empty_slot_is_given_nothing_from_the_host_cache():
    found = store(None, prompt("a", 500), host=[prompt("b", 500)])
    assert found.launch(0, prompt("b", 500, 100), [0, 1], 1.0) == 0


def test_idle_slots_are_saved_and_an_entry_that_grew_is_kept_once():
    found = store(prompt("a", 500, 100), prompt("c", 500), host=[prompt("a", 500)])
    found.launch(1, prompt("c", 500, 10), [0, 1], 1.0)
    assert names(found) == [b"a1"]


def test_the_host_cache_drops_what_was_saved_first():
    found = store(prompt("a", 500), room=3100, host=[prompt("x", 500), prompt("y", 500)])
    found.launch(0, prompt("b", 500), [0], 1.0)
    assert names(found) == [b"y0", b"a0"]


def test_what_is_larger_than_the_host_cache_is_not_saved():
    found = store(prompt("a", 5000), room=3000, host=[prompt("x", 500)])
    found.launch(0, prompt("b", 5000), [0], 1.0)
    assert names(found) == [b"x0"]


@pytest.mark.parametrize(
    ("similarity", "slot"),
    [pytest.param(0.9, 1, id="similar"), pytest.param(0.99, 0, id="used longest ago"), pytest.param(0.0, 0, id="never similar")],
)
def test_where_llama_server_puts_a_request_itself(similarity, slot):
    found = store(prompt("x", 9000), prompt("a", 9000), similarity=similarity)
    assert found.place(prompt("a", 9000, 500), [0, 1]) == slot


def warmth(*slots, room=100_000):
    found = Warmth(len(slots), room, 0.9)
    found._store = store(*slots, room=room)
    return found


def test_the_slot_that_holds_the_prompt_costs_least():
    found = warmth(prompt("a", 5000), prompt("b", 5000))
    prices = [found.price(slot, prompt("b", 5000, 60), [0, 1], 1.0) for slot in (0, 1)]
    assert (prices[1].held, prices[1].compute, prices[1].loss) == (6000, 60 / USUAL_PROMPT, 6000 / USUAL_PROMPT / COPIED)
    assert prices[0].held == TRUNK


def test_what_others_lose_costs_and_less_the_longer_they_are_silent():
    found = warmth(prompt("a", 5000), room=0)
    soon, late = (found.price(0, prompt("b", 5000), [0], now).loss for now in (0.0, 900.0))
    assert soon == pytest.approx(5000 / USUAL_PROMPT)
    assert late == pytest.approx(soon / 2)


def test_what_is_saved_is_not_lost():
    assert warmth(prompt("a", 5000)).price(0, prompt("b", 5000), [0], 0.0).loss == 6000 / USUAL_PROMPT / COPIED  # it is copied


def test_an_empty_slot_computes_what_all_share_once_and_that_does_not_count():
    found = warmth(prompt("a", 5000), None)
    prices = [found.price(slot, prompt("b", 5000), [0, 1], 0.0) for slot in (0, 1)]
    assert (prices[1].held, prices[1].seconds) == (0, prices[0].seconds)


def test_a_small_request_takes_the_slot_with_the_least_to_lose():
    found = warmth(prompt("a", 20_000), prompt("b", 500), room=0)
    title = Chain((b"title",), (40,))
    prices = [found.price(slot, title, [0, 1], 1.0) for slot in (0, 1)]
    assert prices[1].seconds < prices[0].seconds


def test_an_answer_corrects_what_is_believed():
    found = warmth(None)
    believed = found.launch(0, prompt("a", 500), [0], 0.0)
    found.answered(0, believed, 0, 3000, 100, 5.0)  # twice as many tokens as were thought
    assert found.holds(prompt("a", 500, 100)) >= 1500
    assert found._store.slots[0] == Held(Chain((b"trunk", b"a0"), (2000, 3000)), 3100, 5.0)
    assert (found.predicted, found.cached) == (0, 0)


def test_a_host_cache_that_is_smaller_than_was_thought_is_believed_to_be():
    found = warmth(prompt("a", 5000), room=50_000)
    found._store.host = [Held(one, one.size, 0.0) for one in (prompt("b", 5000), prompt("c", 500))]
    believed = found.launch(0, prompt("b", 5000, 10), [0], 1.0)
    found.answered(0, believed, TRUNK, 5010, 100, 5.0)
    assert (believed, found._store.room) == (6000, 6000 + 1500 + 6000 - 1)  # b, and what was saved after it
    found.clear()
    assert found._store.room == 50_000


def test_sizes_of_a_known_start_are_known():
    found = warmth(prompt("a", 500))
    characters = Chain((b"trunk", b"a0", b"a1"), (4000, 6000, 7000))
    found.speeds.tokens_per_character = 0.5
    assert found.in_tokens(characters).ends == (1000, 1500, 2000)


def test_a_new_start_of_the_engine_empties_everything():
    found = warmth(prompt("a", 500), prompt("b", 500))
    found.clear()
    assert found.holds(prompt("a", 500)) == 0


def test_another_number_of_slots_keeps_what_the_others_hold():
    found = warmth(prompt("a", 500))
    found.resize(2)
    assert found.price(0, prompt("a", 500), [0, 1], 0.0).held == 1499
    found.resize(1)
    assert len(found._store.slots) == 1


def test_speeds_are_learnt_by_depth_and_neighbours_do_not_make_a_server_slow():
    speeds = Speeds()
    speeds.learn(10_000, 0, 4000, 40_000, 100, 10_000)
    assert speeds.prompt(2000) == 100.0
    speeds.learn(10_000, 0, 4000, 400_000, 100, 100_000)
    assert speeds.prompt(2000) > 90
    speeds.learn(100_000, 38_000, 2000, 40_000, 100, 10_000)
    assert (speeds.prompt(39_000), speeds.prompt_seconds(38_000, 40_000)) == (50.0, 40.0)
    assert speeds.tokens_per_character > 0.28
    speeds.learn(0, 0, 1, 1, 0, 0)  # says nothing
    assert speeds.prompt(39_000) == 50.0
