# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How one of several available backends is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .pool import Candidate, Lease, Outcome, Request
from .tokens import Timings


class Policy(Protocol):
    """Base class of a policy. The hooks are for policies that learn, and do nothing here.

    What a hook raises reaches the caller of the pool; the pool's counts stay exact.
    """

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        """Returns one of the candidates, of which there is at least one, and changes none. All are usable at ``now``."""

    def on_acquired(self, lease: Lease) -> None:
        """Called when a backend was chosen, before the request starts there."""
        return

    def on_answered(self, lease: Lease, said: Timings, now: float) -> None:
        """Called with the timings of a complete answer. ``on_released`` follows."""
        return

    def on_released(self, lease: Lease, outcome: Outcome, now: float) -> None:
        """Called when the request ended at ``now``. Its backend may have left the pool meanwhile."""
        return


class LeastBusy(Policy):
    """The fewest requests for each slot; among equals the one chosen longest ago, so that idle backends take turns."""

    def choose(self, candidates: Sequence[Candidate], request: Request, now: float) -> Candidate:
        """Returns the least busy candidate, whatever the request."""
        return min(candidates, key=lambda one: (one.load / one.backend.slots, one.last_chosen))
