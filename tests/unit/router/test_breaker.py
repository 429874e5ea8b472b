# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from copilot_router.breaker import Breaker, State

LIMIT = 2
COOLDOWN = 30.0


def play(script):
    """Plays ``time verb request`` steps, separated by commas, on a new breaker."""
    breaker = Breaker()
    periods = {}
    for step in script.split(","):
        time, verb, *names = step.split()
        if verb == "close":
            breaker.close()
        for name in names:
            if verb == "start":
                assert breaker.lets_pass(float(time)), step
                periods[name] = breaker.start()
            elif verb == "fail":
                breaker.fail(periods[name], float(time), LIMIT, COOLDOWN)
            else:
                getattr(breaker, verb)(periods[name])
    return breaker


OPENED = "0 start a b, 1 fail a b"  # until second 31


@pytest.mark.parametrize(
    ("script", "now", "state", "lets_pass", "failures"),
    [
        pytest.param("0 start a", 0, State.CLOSED, True, 0, id="new"),
        pytest.param("0 start a, 1 fail a", 1, State.CLOSED, True, 1, id="one-failure"),
        pytest.param(OPENED, 1, State.OPEN, False, 2, id="two-failures"),
        pytest.param(OPENED, 30.9, State.OPEN, False, 2, id="just-before-the-end"),
        pytest.param(OPENED, 31, State.TRIAL, True, 2, id="cooled-down"),
        pytest.param("0 start a b c, 1 fail a, 2 succeed b, 3 fail c", 3, State.CLOSED, True, 1, id="not-consecutive"),
        pytest.param("0 start a b c, 1 fail a, 2 abandon b, 3 fail c", 3, State.OPEN, False, 2, id="abandoned-between"),
        pytest.param("0 start a b, 1 abandon a b", 1, State.CLOSED, True, 0, id="all-abandoned"),
        pytest.param(f"{OPENED}, 40 start t", 40, State.TRIAL, False, 2, id="trial-runs"),
        pytest.param(f"{OPENED}, 40 start t, 99 succeed t", 99, State.CLOSED, True, 0, id="trial-succeeds"),
        pytest.param(f"{OPENED}, 40 start t, 50 fail t", 50, State.OPEN, False, 3, id="trial-fails"),
        pytest.param(f"{OPENED}, 40 start t, 50 fail t", 80, State.TRIAL, True, 3, id="trial-fails-and-cools-down"),
        pytest.param(f"{OPENED}, 40 start t, 50 abandon t", 50, State.TRIAL, True, 2, id="trial-given-back"),
        pytest.param(
            f"{OPENED}, 40 start t, 41 succeed t, 42 start c, 43 fail c",
            43,
            State.CLOSED,
            True,
            1,
            id="one-failure-after-a-trial",
        ),
        pytest.param("0 start a b c, 1 fail a b, 20 fail c", 31, State.TRIAL, True, 2, id="late-failure-does-not-prolong"),
        pytest.param("0 start a b c, 1 fail a b, 20 succeed c", 20, State.OPEN, False, 2, id="late-success-does-not-close"),
        pytest.param("0 start a b c, 1 fail a b, 40 start t, 41 abandon c", 41, State.TRIAL, False, 2, id="late-end-keeps-trial"),
        pytest.param(
            "0 start a b c, 1 fail a b, 40 start t, 41 succeed t, 42 fail c", 42, State.CLOSED, True, 0, id="late-after"
        ),
        pytest.param(f"{OPENED}, 2 close", 2, State.CLOSED, True, 0, id="closed-at-once"),
        pytest.param(f"{OPENED}, 40 start t, 41 close", 41, State.CLOSED, True, 0, id="closed-during-a-trial"),
        pytest.param(f"{OPENED}, 40 start t, 41 close, 42 fail t", 42, State.CLOSED, True, 0, id="trial-ends-after-it-closed"),
        pytest.param("0 start a b, 1 fail a, 2 close, 3 fail b", 3, State.CLOSED, True, 0, id="failure-from-before-it-closed"),
    ],
)
def test_what_the_breaker_makes_of_a_history(script, now, state, lets_pass, failures):
    breaker = play(script)
    assert (breaker.state(now), breaker.lets_pass(now), breaker.failures) == (state, lets_pass, failures)


def test_a_failed_trial_cools_down_in_full():
    assert play(f"{OPENED}, 40 start t, 55 fail t").opened_until == 85.0


def test_a_limit_of_one_opens_at_the_first_failure():
    breaker = Breaker()
    breaker.fail(breaker.start(), 5.0, 1, 10.0)
    assert breaker.opened_until == 15.0


def test_without_a_cooldown_the_trial_comes_at_once():
    breaker = Breaker()
    breaker.fail(breaker.start(), 5.0, 1, 0.0)
    assert breaker.lets_pass(5.0)
    breaker.start()
    assert not breaker.lets_pass(5.0)


def test_a_failed_trial_opens_alone_whatever_the_limit_is_by_then():
    breaker = play(OPENED)
    breaker.fail(breaker.start(), 40.0, 9, 10.0)
    assert (breaker.opened_until, breaker.lets_pass(50.0)) == (50.0, True)
