# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The slots of one llama-server: who runs, who waits, who is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from copilot_router.slots import OVERTAKEN, STARVED, Health, Outcome, Role, Slots, Stage, choose_slot

PATIENCE = 120.0


def ready(**slots: int) -> Slots:
    found = Slots(slots or {"tiny": 2}, patience=PATIENCE)
    found.engine(Health.READY, 0.0)
    return found


def stages(tickets) -> list[str]:
    return [str(one.stage) for one in tickets]


def test_no_more_run_than_there_are_slots_and_the_oldest_is_next() -> None:
    slots = ready()
    asked = [slots.arrive("tiny", Role.DEVELOPER, float(second)) for second in range(4)]
    assert slots.advance(4.0) == asked[:2]
    assert [one.slot for one in asked] == [0, 1, None, None]
    slots.end(asked[1], Outcome.ANSWERED)
    assert slots.advance(5.0) == [asked[2]]
    assert asked[2].slot == 1
    assert stages(asked) == ["running", "ended", "running", "waiting"]


def test_models_have_slots_of_their_own() -> None:
    slots = ready(one=1, two=1)
    first, second, other = (slots.arrive(name, Role.DEVELOPER, 0.0) for name in ("one", "one", "two"))
    assert slots.advance(0.0) == [first, other]
    assert second.stage is Stage.WAITING


def test_developers_are_counted_once_and_those_of_whom_nothing_runs() -> None:
    slots = ready(tiny=2, other=1)
    asked = [slots.arrive("tiny", Role.DEVELOPER, 0.0, user) for user in ("ada", "bob", "ada", "cleo", "cleo")]
    assert slots.developers() == {"tiny": (3, 3), "other": (0, 0)}
    slots.advance(0.0)
    assert slots.developers() == {"tiny": (3, 1), "other": (0, 0)}
    slots.leave(asked[1])
    assert slots.developers()["tiny"] == (2, 1), "bob is gone, though his slot is not free yet"


def test_an_unknown_model_is_nobodys() -> None:
    with pytest.raises(KeyError):
        ready().arrive("huge", Role.DEVELOPER, 0.0)


def test_what_needs_no_slot_waits_for_the_engine_only() -> None:
    slots = ready(tiny=1)
    slots.arrive("tiny", Role.DEVELOPER, 0.0)
    slots.advance(0.0)
    slots.drain(60, 0.0)
    listing = slots.arrive(None, Role.DEVELOPER, 1.0)
    assert slots.advance(1.0) == [listing]
    slots.engine(Health.DOWN, 2.0)
    late = slots.arrive(None, Role.DEVELOPER, 2.0)
    assert slots.advance(2.0) == []
    assert slots.snapshot(2.0)["queued"] == {"tiny": 0}
    slots.engine(Health.READY, 3.0)
    assert slots.advance(3.0) == [late]


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.ADMIN])
@pytest.mark.parametrize(("health", "code"), [(Health.DOWN, "engine_down"), (Health.LOADING, "loading")])
def test_people_wait_for_an_engine_that_is_not_ready_and_not_for_ever(role: Role, health: Health, code: str) -> None:
    slots = ready()
    slots.engine(health, 10.0)
    ticket = slots.arrive("tiny", role, 15.0)
    assert slots.advance(15.0) == []
    assert slots.next_event(15.0) == 15.0 + PATIENCE
    assert slots.advance(15.0 + PATIENCE) == [ticket]
    assert (ticket.stage, ticket.refusal and ticket.refusal.code) == (Stage.REFUSED, code)


def test_who_waited_for_a_slot_before_has_the_whole_patience_for_the_engine() -> None:
    slots = ready(tiny=1)
    _first, second = (slots.arrive("tiny", Role.DEVELOPER, 0.0) for _request in range(2))
    slots.advance(0.0)
    slots.engine(Health.DOWN, 1000.0)
    assert slots.advance(1000.0) == []
    slots.engine(Health.LOADING, 1050.0)  # which is no new beginning
    assert slots.next_event(1050.0) == 1000.0 + PATIENCE
    assert slots.advance(1000.0 + PATIENCE) == [second]


@pytest.mark.parametrize("health", [Health.DOWN, Health.LOADING])
def test_a_balancer_never_waits_for_the_engine(health: Health) -> None:
    slots = ready(tiny=1)
    _running, queued = (slots.arrive("tiny", Role.BALANCER, 0.0) for _request in range(2))
    slots.advance(0.0)
    slots.engine(health, 1.0)
    new = slots.arrive("tiny", Role.BALANCER, 1.0)
    assert slots.advance(1.0) == [queued, new]
    assert stages([queued, new]) == ["refused", "refused"]


def test_a_request_whose_answer_has_not_begun_keeps_the_place_of_its_age() -> None:
    slots = ready(tiny=1)
    first, second = (slots.arrive("tiny", Role.DEVELOPER, float(second)) for second in range(2))
    slots.advance(2.0)
    slots.engine(Health.DOWN, 3.0)
    slots.again(first)
    assert slots.advance(3.0) == []
    assert slots.snapshot(3.0)["busy"] == {"tiny": 0}
    slots.engine(Health.READY, 4.0)
    assert slots.advance(4.0) == [first]
    assert second.stage is Stage.WAITING


def test_a_drain_holds_developers_sends_balancers_away_and_ends_by_itself() -> None:
    slots = ready(tiny=2)
    runs = slots.arrive("tiny", Role.DEVELOPER, 0.0)
    slots.advance(0.0)
    slots.drain(30, 10.0)
    person, balancer = slots.arrive("tiny", Role.DEVELOPER, 11.0), slots.arrive("tiny", Role.BALANCER, 11.0)
    assert slots.advance(11.0) == [balancer]
    assert balancer.refusal is not None
    assert (balancer.refusal.code, balancer.refusal.retry_after) == ("draining", 29)
    assert runs.stage is Stage.RUNNING
    assert slots.next_event(11.0) == 40.0
    assert slots.snapshot(11.5)["draining"] == 29
    assert slots.advance(39.9) == []
    assert slots.advance(40.0) == [person]
    assert slots.next_event(40.0) is None


def test_a_drain_can_be_ended() -> None:
    slots = ready()
    slots.drain(30, 0.0)
    ticket = slots.arrive("tiny", Role.DEVELOPER, 1.0)
    slots.drain(0, 2.0)
    assert slots.advance(2.0) == [ticket]


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.RUNNING, Stage.REFUSED])
def test_a_request_that_ends_leaves_nothing_in_whatever_stage_it_is(stage: Stage) -> None:
    slots = ready(tiny=1)
    other = slots.arrive("tiny", Role.DEVELOPER, 0.0)
    if stage is not Stage.RUNNING:
        slots.advance(0.0)
    else:
        slots.end(other, Outcome.LEFT)
    ticket = slots.arrive("tiny", Role.BALANCER, 1.0)
    if stage is Stage.REFUSED:
        slots.engine(Health.DOWN, 1.0)
    slots.advance(1.0)
    assert ticket.stage is stage
    for _again in range(2):
        slots.end(ticket, Outcome.LEFT)
        slots.end(other, Outcome.LEFT)
    found = slots.snapshot(2.0)
    assert (found["busy"], found["queued"]) == ({"tiny": 0}, {"tiny": 0})


def left_while_another_runs() -> tuple[Slots, Any, Any]:
    slots = ready()
    running, gone = (slots.arrive("tiny", Role.DEVELOPER, 0.0) for _request in range(2))
    slots.advance(0.0)
    slots.leave(gone)
    return slots, running, slots.arrive("tiny", Role.DEVELOPER, 1.0)


def test_who_left_keeps_the_slot_until_llama_server_lets_go_of_it() -> None:
    slots, running, late = left_while_another_runs()
    slots.working("tiny", 2)
    assert slots.advance(1.0) == []
    assert (slots.leaving, slots.snapshot(1.0)["busy"]) == (["tiny"], {"tiny": 2})
    slots.working("tiny", 1)
    assert slots.advance(2.0) == [late]
    assert (slots.leaving, late.slot, running.stage) == ([], 1, Stage.RUNNING)
    assert slots.snapshot(2.0)["counts"]["left"] == 1


@pytest.mark.parametrize("health", [Health.DOWN, Health.LOADING])
def test_an_engine_that_is_gone_works_for_nobody(health: Health) -> None:
    slots, _running, late = left_while_another_runs()
    slots.engine(health, 1.0)
    slots.engine(Health.READY, 2.0)
    assert slots.advance(2.0) == [late]


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.REFUSED, Stage.ENDED])
def test_who_leaves_and_does_not_run_is_gone_at_once(stage: Stage) -> None:
    slots = ready(tiny=1)
    if stage is Stage.REFUSED:
        slots.engine(Health.DOWN, 0.0)
    holder = slots.arrive("tiny", Role.BALANCER, 0.0)
    slots.advance(0.0)
    ticket = slots.arrive("tiny", Role.DEVELOPER, 0.0) if stage is Stage.WAITING else holder
    if stage is Stage.ENDED:
        slots.end(ticket, Outcome.ANSWERED)
    slots.leave(ticket)
    assert (ticket.stage, slots.leaving) == (Stage.ENDED, [])


def test_slots_that_are_learnt_late_hold_for_who_waits() -> None:
    slots = ready(tiny=1)
    asked = [slots.arrive("tiny", Role.DEVELOPER, 0.0) for _request in range(4)]
    slots.advance(0.0)
    slots.resize({"tiny": 3})
    assert slots.advance(1.0) == asked[1:3]
    slots.resize({"tiny": 1})  # two run that have no slot any more
    slots.end(asked[2], Outcome.ANSWERED)
    slots.end(asked[0], Outcome.ANSWERED)
    assert slots.advance(2.0) == []
    slots.end(asked[1], Outcome.ANSWERED)
    assert slots.advance(2.0) == [asked[3]]


def test_a_slot_is_one_that_is_free() -> None:
    slots = ready()
    ticket = slots.arrive("tiny", Role.DEVELOPER, 0.0)
    assert choose_slot([3, 1, 2], ticket) in (1, 2, 3)


def test_a_snapshot_is_plain_data() -> None:
    slots = ready(one=1, two=2)
    for name in ("one", "one", "two"):
        slots.arrive(name, Role.DEVELOPER, 0.0)
    gone = slots.arrive("two", Role.DEVELOPER, 0.0)
    slots.advance(0.0)
    slots.end(gone, Outcome.BROKEN)
    slots.model_states({"one": "loaded", "two": "sleeping", "three": "unloaded"})
    assert slots.snapshot(0.0) == {
        "health": "ready",
        "slots": {"one": 1, "two": 2},
        "busy": {"one": 1, "two": 1},
        "queued": {"one": 1, "two": 0},
        "models": {"one": "loaded", "two": "sleeping"},
        "draining": 0,
        "counts": {"answered": 0, "broken": 1, "left": 0, "refused": 0},
    }


def test_whatever_happens_no_slot_is_lost_or_given_twice() -> None:
    """A long run of random events."""
    chance = random.Random(7)
    slots, alive, now = ready(one=2, two=3), [], 0.0
    for _step in range(2000):
        now += chance.random()
        event = chance.choice(["arrive", "arrive", "end", "leave", "working", "again", "engine", "drain"])
        running = [one for one in alive if one.stage is Stage.RUNNING]
        if event == "arrive":
            alive.append(slots.arrive(chance.choice(["one", "two", None]), chance.choice(list(Role)), now))
        elif event == "end" and alive:
            slots.end(alive.pop(chance.randrange(len(alive))), chance.choice(list(Outcome)))
        elif event == "leave" and alive:
            slots.leave(chance.choice(alive))
        elif event == "working":
            slots.working(chance.choice(["one", "two"]), chance.randrange(4))
        elif event == "again" and running:
            slots.again(chance.choice(running))
        elif event == "engine":
            slots.engine(chance.choice([Health.READY, Health.READY, Health.DOWN, Health.LOADING]), now)
        elif event == "drain":
            slots.drain(chance.choice([0, 0, 3]), now)
        slots.advance(now)
        held = [(one.model, one.slot) for one in alive if one.stage in (Stage.RUNNING, Stage.LEAVING) and one.model]
        assert len(held) == len(set(held))
        assert sum(slots.snapshot(now)["busy"].values()) == len(held)
    for one in alive:
        slots.end(one, Outcome.LEFT)
    assert slots.snapshot(now)["busy"] == {"one": 0, "two": 0}


def test_who_waits_can_read_what_for() -> None:
    slots = ready(one=1, two=1)
    running, first, second = (slots.arrive("one", Role.DEVELOPER, float(second)) for second in range(3))
    slots.advance(3.0)
    asked = (running, first, second)
    assert [slots.waits_for(one) for one in asked] == ["waiting", "waiting, 0 before you", "waiting, 1 before you"]
    running.tell("prompt 1/9 tokens")
    assert slots.waits_for(running) == "prompt 1/9 tokens"
    slots.model_states({"one": "loading"})
    assert slots.waits_for(running) == "waiting for the model to load"
    slots.engine(Health.DOWN, 1.0)
    assert {slots.waits_for(one) for one in asked} == {"waiting for the engine"}
    slots.engine(Health.READY, 2.0)
    slots.model_states({"one": "loaded"})
    slots.again(running)
    assert [slots.waits_for(one) for one in asked] == [f"waiting, {place} before you" for place in range(3)]


def users_in_turn(slots, names, now=0.0):
    """Has these ask, in this order; returns who gets the one slot when, one after the other."""
    tickets = [slots.arrive("tiny", Role.DEVELOPER, now + number / 1000, name) for number, name in enumerate(names)]
    order = []
    while len(order) < len(names):
        ran = slots.advance(now + 1)
        order += [ticket.user for ticket in ran]
        for ticket in ran:
            slots.end(ticket, Outcome.ANSWERED)
    assert not [ticket for ticket in tickets if ticket.stage is not Stage.ENDED]
    return "".join(order)


def test_one_who_asks_a_dozen_things_takes_a_turn_like_everybody_else():
    slots = Slots({"tiny": 1}, patience=5)
    slots.engine(Health.READY, 0.0)
    assert users_in_turn(slots, "aaaaaabcdbc") == "abcdabcaaaa"


def test_who_has_a_request_at_work_lets_others_go_first():
    slots = Slots({"tiny": 2}, patience=5)
    slots.engine(Health.READY, 0.0)
    for name in "aab":
        slots.arrive("tiny", Role.DEVELOPER, 0.0, name)
    assert [ticket.user for ticket in slots.advance(0.0)] == ["a", "b"]


def test_who_has_waited_for_long_comes_before_all_others():
    slots = Slots({"tiny": 1}, patience=5)
    slots.engine(Health.READY, 0.0)
    first = slots.arrive("tiny", Role.DEVELOPER, 0.0, "a")
    assert slots.advance(0.0) == [first]
    second = slots.arrive("tiny", Role.DEVELOPER, 1.0, "a")
    slots.arrive("tiny", Role.DEVELOPER, 2.0, "b")
    assert slots.waits_for(second) == "waiting, 1 before you"
    slots.end(first, Outcome.ANSWERED)
    assert slots.advance(STARVED + 1.5) == [second]


def served(slots, now=0.0):
    """Ends what runs, and returns who gets the one slot next."""
    for ticket in slots.advance(now):
        slots.end(ticket, Outcome.ANSWERED)
        return ticket.user
    return ""


def test_a_short_prompt_comes_before_a_long_one():
    slots = Slots({"tiny": 1}, patience=5)
    slots.engine(Health.READY, 0.0)
    for number, (name, seconds) in enumerate({"cold": 300.0, "warm": 10.0, "new": 299.0}.items()):
        slots.arrive("tiny", Role.DEVELOPER, float(number), name, lambda seconds=seconds: seconds)
    assert [served(slots) for _request in range(3)] == ["warm", "new", "cold"]


def test_a_long_prompt_that_has_waited_for_long_comes_first():
    slots = Slots({"tiny": 1}, patience=5)
    slots.engine(Health.READY, 0.0)
    slots.arrive("tiny", Role.DEVELOPER, 0.0, "cold", lambda: 100.0)
    slots.arrive("tiny", Role.DEVELOPER, 8 * 90 + 1.0, "warm", lambda: 10.0)
    assert served(slots, 730.0) == "cold"


def test_what_a_prompt_would_take_is_asked_again():
    """It was evicted while it waited."""
    slots, takes = Slots({"tiny": 1}, patience=5), {"a": 10.0, "b": 20.0}
    slots.engine(Health.READY, 0.0)
    slots.arrive("tiny", Role.DEVELOPER, 0.0, "a", lambda: takes["a"])
    slots.arrive("tiny", Role.DEVELOPER, 0.0, "b", lambda: takes["b"])
    takes["a"] = 300.0
    assert served(slots) == "b"


@pytest.mark.parametrize("same", [False, True], ids=["another developer's", "his own"])
def test_nobody_overtakes_a_request_again_and_again(same):
    slots = Slots({"tiny": 1}, patience=5)
    slots.engine(Health.READY, 0.0)
    slots.arrive("tiny", Role.DEVELOPER, 0.0, "warm" if same else "cold", lambda: 400.0)
    order = []
    for number in range(OVERTAKEN + 2):
        if len(order) <= OVERTAKEN:
            slots.arrive("tiny", Role.DEVELOPER, 1.0 + number, "warm", lambda: 1.0)
        (ticket,) = slots.advance(2.0 + number)
        slots.end(ticket, Outcome.ANSWERED)
        order.append(ticket.work())
    assert order == [1.0] * OVERTAKEN + [400.0, 1.0]


def test_a_new_developer_waits_for_no_second_request_of_another_one():
    slots = Slots({"tiny": 1}, patience=5)
    slots.engine(Health.READY, 0.0)
    for _request in range(6):
        slots.arrive("tiny", Role.DEVELOPER, 0.0, "a")
    order = [served(slots)]
    for number, name in enumerate("bcb", 1):
        slots.arrive("tiny", Role.DEVELOPER, float(number), name)
    order += [served(slots, 10.0) for _request in range(8)]
    assert "".join(order) == "abcabaaaa"
