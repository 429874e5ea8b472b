# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A circuit breaker: takes a backend out after consecutive failures, and back in after one successful trial request."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Whether requests pass."""

    CLOSED = "closed"  # yes
    OPEN = "open"  # no, the backend cools down
    TRIAL = "trial"  # one request may pass, or is in flight


class Breaker:
    """The breaker of one backend.

    A request belongs to the *period* in which it started; a period ends when the breaker opens or closes. The end of a request
    of an earlier period says nothing about the backend as it is now, and is not counted: ten streams that die together with
    their server open the breaker once, and do not open it again when the server is back.
    """

    def __init__(self) -> None:
        self.failures = 0  # consecutive failures in this period
        self.opened_until: float | None = None  # end of the cooldown, in seconds of ``now``; None when closed
        self._period = 0
        self._trial_runs = False

    def state(self, now: float) -> State:
        """Returns the state at ``now``."""
        if self.opened_until is None:
            return State.CLOSED
        return State.OPEN if now < self.opened_until else State.TRIAL

    def lets_pass(self, now: float) -> bool:
        """Returns whether one more request may start at ``now``."""
        return self.opened_until is None or (now >= self.opened_until and not self._trial_runs)

    def start(self) -> int:
        """Records the start of a request that ``lets_pass`` allowed. Returns its period, for the methods that end it."""
        self._trial_runs = self.opened_until is not None
        return self._period

    def succeed(self, period: int) -> None:
        """Records that a request of this period succeeded."""
        if period == self._period:
            self.failures = 0
            if self.opened_until is not None:
                self.close()

    def fail(self, period: int, now: float, limit: int, cooldown: float) -> None:
        """Records that a request of this period failed because of the backend.

        :param limit: how many consecutive failures open the breaker; a failed trial does so alone.
        :param cooldown: for how many seconds it opens.
        """
        if period == self._period:
            self.failures += 1
            if self.failures >= limit or self.opened_until is not None:
                self.opened_until = now + cooldown
                self._begin_period()

    def abandon(self, period: int) -> None:
        """Records that a request of this period ended without a verdict; if it was the trial, the next request becomes it."""
        if period == self._period:
            self._trial_runs = False

    def close(self) -> None:
        """Lets all requests pass again, whatever was before."""
        self.failures = 0
        self.opened_until = None
        self._begin_period()

    def _begin_period(self) -> None:
        self._period += 1
        self._trial_runs = False
