# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server says to hold, and what a balancer makes of it."""

from __future__ import annotations

import json

import pytest
from copilot_router import holdings
from copilot_router.conversations import chain_of, marks_key
from copilot_router.holdings import FORGOTTEN, NOTHING, USUAL_ROOM, Holdings, Index
from copilot_router.question import Question
from copilot_router.recall import Recall
from copilot_router.tokens import Timings, timings_in

SYSTEM = {"role": "system", "content": "x" * 10_000}
KEY = marks_key("secret")


def prompt(name, *said):
    messages = [SYSTEM, *({"role": "user", "content": f"{name} {text} " + "y" * 3000} for text in said)]
    return chain_of({"messages": messages}, "tiny", KEY)


@pytest.fixture
def held():
    return Holdings(Index())


def ask(held, chain, now, cached=0, tokens=None):
    begun = held.begin(chain, now)
    tokens = chain.size // 4 if tokens is None else tokens
    held.answered(begun, Timings(cached, tokens - cached, 1.0, 10, 1.0), now)
    return begun


def known(held, chain):
    return held._index.find(chain).get(held, NOTHING)


def test_a_turn_takes_the_place_of_the_one_before(held):
    ask(held, prompt("a", 1), 0.0)
    begun = ask(held, prompt("a", 1, 2), 10.0, cached=3000)
    assert begun.known.tokens == prompt("a", 1).size // 4
    assert (len(held), held.tokens) == (1, prompt("a", 1, 2).size // 4 + 10)


def test_who_edits_a_message_goes_back_to_the_end_of_an_earlier_prompt(held):
    for turn in range(1, 4):
        ask(held, prompt("a", *range(turn)), float(turn))
    assert known(held, prompt("a", 0, 1, "edited")).tokens == prompt("a", 0, 1).size // 4
    ask(held, prompt("a", 0, 1, "edited"), 9.0)
    assert len(held) == 2, "what was edited is still held, too"


def test_a_sub_agent_leaves_the_conversation_that_started_it(held):
    ask(held, prompt("a", 1), 0.0)
    ask(held, prompt("a", 1, "agent"), 1.0)
    assert known(held, prompt("a", 1, 2)).tokens == prompt("a", 1).size // 4


def test_what_many_share_is_the_end_of_no_prompt(held):
    ask(held, prompt("a", 1), 0.0)
    assert known(held, prompt("b", 1)) == NOTHING


def test_programs_that_mark_the_newest_message_for_a_cache_are_recognised(held):
    """They write that into the last messages, and others as plain text: the prompt is the same."""
    marked = {"type": "text", "text": "Why?", "cache_control": {"type": "ephemeral"}}
    ask(held, chain_of({"messages": [SYSTEM, {"role": "user", "content": [marked]}]}), 0.0)
    for content in ("Why?", [{"type": "text", "text": "Why?"}]):
        said = [SYSTEM, {"role": "user", "content": content}, {"role": "assistant", "content": "So."}]
        assert known(held, chain_of({"messages": said})).tokens


def test_tokens_are_those_that_were_counted(held):
    ask(held, prompt("a", 1), 0.0, tokens=5000)
    begun = held.begin(prompt("a", 1, 2), 1.0)
    assert begun.known.tokens == 5000
    assert 5000 < begun.tokens < 7000


def go_on(held, turn, cached):
    """One more turn of each of eight conversations, the one that was silent for longest first."""
    for number in range(8):
        chain = prompt(f"c{number}", *range(turn))
        ask(held, chain, float(turn), cached=cached and chain.size // 4 - 700, tokens=chain.size // 4)


def test_what_was_not_there_says_that_there_is_less_room_and_what_is_deeper_is_not_believed(held):
    for turn in range(1, 6):
        go_on(held, turn, cached=0)
    deepest = known(held, prompt("c0", *range(6)))
    assert held.room < held.tokens < USUAL_ROOM
    assert (held.believed(deepest), held.believed(known(held, prompt("c7", *range(6)))).tokens > 0) == (NOTHING, True)


def test_what_was_there_says_that_there_is_more(held):
    held.room = 4000
    for turn in range(1, 12):
        go_on(held, turn, cached=1)
    assert held.room > 0.9 * held.tokens


def test_what_all_conversations_share_is_no_sign_that_one_was_there(held):
    """Other conversations keep the common start in the cache, and it may be most of a prompt."""
    shared = 2500
    for number in range(8):
        ask(held, prompt(f"c{number}", 0), 0.0, cached=shared, tokens=3250)
    for turn in range(2, 8):
        for number in range(8):
            chain = prompt(f"c{number}", *range(turn))
            ask(held, chain, float(turn), cached=shared, tokens=3250 + 50 * turn)
    assert held.room < 1.1 * held.tokens < USUAL_ROOM


def test_a_prompt_takes_the_time_of_what_is_not_held(held):
    assert held.seconds(prompt("a", 1)) == pytest.approx(prompt("a", 1).size * 0.28 / 60, rel=0.01)
    held.answered(held.begin(prompt("a", 1), 0.0), Timings(0, 3000, 50_000.0, 10, 1.0), 0.0)
    assert held.seconds(prompt("a", 1)) < 1
    assert 10 < held.seconds(prompt("a", 1, 2)) < held.seconds(prompt("b", 1, 2))
    held.room = 1000
    assert held.seconds(prompt("a", 1)) > 30, "it is not believed to be there still"


def test_there_are_bounds(held, monkeypatch):
    monkeypatch.setattr(holdings, "MOST", 5)
    for number in range(20):
        for turn in range(1, 7):
            ask(held, prompt(f"c{number}", *range(turn)), float(number))
    assert (len(held), len(held._ends), len(held._index)) == (5, 20, 20)
    ask(held, prompt("late", 1), FORGOTTEN + 17.5)
    assert len(held) == 3, "silent ones are forgotten"
    held.clear()
    assert (len(held), held.tokens, len(held._ends), len(held._index)) == (0, 0, 0, 0)


def test_a_balancer_knows_what_a_server_said(held):
    for number in range(3):
        ask(held, prompt(f"c{number}", 1), 100.0 + number)
        ask(held, prompt(f"c{number}", 1, 2), 200.0 + number, cached=2000)
    there = Holdings(Index())
    there.believe(json.loads(json.dumps(held.said())), 100.0)
    assert [(one.ends, one.tokens) for one in there] == [(one.ends, one.tokens) for one in held]
    assert [one.used for one in there] == [100.0, 101.0, 102.0]
    assert there.said()["speeds"] == held.said()["speeds"]
    there.believe({**held.said(), "held": []}, 100.0)
    assert (len(there), len(there._index)) == (0, 0)


def test_what_was_said_before_costs_nothing_and_what_is_doubted_is_read_again(held):
    ask(held, prompt("a", 1), 0.0)
    there = Holdings(Index())
    there.believe(held.said(), 0.0)
    there.note(prompt("b", 1), 100, 0, 1.0)
    there.believe(held.said(), 0.0)
    assert len(there) == 2
    there.doubt()
    there.believe(held.said(), 0.0)
    assert len(there) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"room": "much"},
        {"speeds": {}},
        {"speeds": {"tokens_per_character": 0, "length": 1, "answer": 1, "prompt": []}},
        {"held": [[0.0, 1]]},
        {"held": [[0.0, 1, *[["00", 1]] * 5]]},
        {"held": [[0.0, 1, ["xy", 1]]]},
    ],
)
def test_what_is_none_of_ours_is_refused(held, wrong):
    ask(held, prompt("a", 1), 0.0)
    with pytest.raises((ValueError, KeyError, TypeError)):
        held.believe({**held.said(), **wrong}, 0.0)
    assert len(held) == 1


# What a server's router does with it.

QUESTION = Question("/chat/completions", "tiny", False, {"messages": [SYSTEM]})
ANSWER = b'{"timings": {"cache_n": 5, "prompt_n": 2000, "prompt_ms": 100, "predicted_n": 3, "predicted_ms": 9}}'


def test_a_router_notes_a_request_at_once_and_corrects_it_by_the_answer():
    recall, told = Recall(["tiny"], KEY), []
    recall.on_change.append(lambda: told.append(recall.said()["tiny"]["held"]))
    found = recall.recognise(QUESTION)
    assert found.seconds() > 0
    begun = recall.begin(found)
    assert len(told[0]) == 1
    recall.answered("tiny", begun, timings_in(ANSWER))
    _used, tokens, (mark, whole) = recall.said()["tiny"]["held"][0]
    assert (tokens, whole) == (2008, 2005)
    assert mark == chain_of(QUESTION.content, "tiny", KEY).marks[-1].hex()
    assert mark != chain_of(QUESTION.content, "tiny", marks_key("another")).marks[-1].hex()


@pytest.mark.parametrize(
    "question",
    [None, Question("/infill", "tiny", False, {"input_prefix": "x"}), Question("/chat/completions", "tiny", False, {})],
)
def test_what_is_no_conversation_is_not_noted(question):
    recall = Recall(["tiny"], KEY)
    assert recall.recognise(question) is None
    assert recall.begin(None) is None
    recall.answered("tiny", None, timings_in(ANSWER))
    assert recall.said()["tiny"]["held"] == []


def test_a_model_that_is_not_loaded_holds_nothing():
    recall = Recall(["tiny", "other"], KEY)
    recall.begin(recall.recognise(QUESTION))
    recall.seen({"tiny": "loaded", "other": "unloaded"})
    assert recall.said()["tiny"]["held"]
    recall.seen({"tiny": "loading", "other": "unloaded"})
    assert not recall.said()["tiny"]["held"]


def test_what_a_restarted_engine_got_back_is_held_again(held):
    """The other conversations are not, and neither is what was taken for theirs later."""
    for number, name in enumerate("abc"):
        ask(held, prompt(name, 1), float(number), tokens=1000 * (number + 1))
    held.clear()
    held.clear()
    assert held.restored([3009, 1013, 77]) == 2, "an answer of 10 tokens, and what llama-server counts otherwise"
    assert [one.tokens for one in held] == [1010, 3010], "the last one used is the last to be forgotten"
    assert [known(held, prompt(name, 1, 2)).tokens for name in "abc"] == [1000, 0, 3000]
    assert (held.restored([2010]), len(held)) == (0, 0), "it was lost at the restart before"


def test_an_engine_that_restarted_unseen_holds_only_what_it_got_back(held):
    for number, name in enumerate("ab"):
        ask(held, prompt(name, 1), float(number), tokens=1000 * (number + 1))
    assert held.restored([1010]) == 1
    assert [known(held, prompt(name, 1, 2)).tokens for name in "ab"] == [1000, 0]
