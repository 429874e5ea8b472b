# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the simulation has slots and host cache hold, by llama-server's rules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from copilot_router.conversations import Chain
from engine_model import Held, Store

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
