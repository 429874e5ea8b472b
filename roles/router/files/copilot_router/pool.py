# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of all backends: counts the requests at each, and applies the rules that precede a policy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .breaker import Breaker
from .tokens import Timings

if TYPE_CHECKING:
    from .policy import Policy


class Health(StrEnum):
    """The health that the watcher observed last."""

    UNKNOWN = "unknown"  # nothing yet
    LOADING = "loading"
    READY = "ready"
    DOWN = "down"
    DRAINING = "draining"  # it finishes its requests, and accepts no new ones for a while
    REFUSED = "refused"  # it answers, but refuses our key, or its certificate is not trusted


class Outcome(StrEnum):
    """How a request ended."""

    SUCCESS = "success"
    FAILURE = "failure"  # caused by the backend, before or after the start of its answer
    ABANDONED = "abandoned"  # the client disconnected: no verdict on the backend


class ZonePolicy(StrEnum):
    """Whether a request may leave the balancer's zone."""

    ANY = "any"  # zones do not matter
    PREFER_LOCAL = "prefer_local"  # only when no local backend is usable
    LOCAL_ONLY = "local_only"  # never


# Retry-After in seconds for each health of a backend. The watcher polls every second.
SECONDS_UNTIL_READY = {Health.UNKNOWN: 1, Health.LOADING: 2, Health.DRAINING: 2, Health.DOWN: 5, Health.REFUSED: 5}
SECONDS_OF_A_TRIAL = 5  # a guess: trials are real requests
SECONDS_UNTIL_ADDED = 5  # for a model that no backend has: a backend may be about to join


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend as the inventory describes it.

    :param slots: how many requests it works on at a time, at least 1; ValueError otherwise.
    :param models: names of the models that it serves.
    """

    id: str
    zone: str
    slots: int = 1
    models: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"backend {self.id!r} has {self.slots} slots: give it at least 1")


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that a policy may use.

    :param prompt: for policies that look at it; anything else leaves it alone.
    :param kept: it may go on from here, as a conversation does.
    """

    model: str
    prompt: Any = None
    kept: bool = True


@dataclass(slots=True, eq=False)
class Candidate:
    """A backend and its state. The pool changes it, policies read it."""

    backend: Backend
    in_flight: int = 0  # in-flight requests
    reported: int = 0  # requests that it reports, including those of other balancers; 0 if it reports none
    last_chosen: int = 0  # number of the pool's choice, which increases; 0 means never
    served: int = 0  # successful requests
    health: Health = Health.UNKNOWN
    detail: str = ""  # the watcher's explanation of its health
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def load(self) -> int:
        """The number of requests: the greater of the backend's report, which is slightly delayed, and our own count."""
        return max(self.in_flight, self.reported)


@dataclass(eq=False)
class Lease:
    """The right to send one request to one backend, until it is released. The pool keeps no lease: who loses it, leaks it.

    :param since: when it began, in seconds of ``now``.
    :param reason: why it is this backend, in a word of the policy's.
    :param expected: tokens of the prompt that it is believed to hold.
    """

    backend: Backend
    request: Request
    since: float
    _candidate: Candidate
    reason: str = ""
    expected: int = 0
    _period: int = 0
    _released: bool = False


class NoBackend(Exception):
    """No backend can take the request now.

    :param reason: for people: what the backends lack, by number.
    :param retry_after: whole seconds, at least 1, until the earliest thing that may help.
    """

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Pool:
    """All backends of a balancer.

    Nothing here waits, so that on one event loop each call is one step. It takes no lock: call it from that loop's thread only.
    """

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        policy: Policy,
        zone: str,
        zone_policy: str,
        failures: int = 2,
        cooldown: float = 30.0,
    ) -> None:
        """See ``configure`` for the rules and ``replace`` for the backends; raises ValueError as these do."""
        self._policy = policy
        self._candidates: dict[str, Candidate] = {}
        self._choices = 0
        self.configure(zone=zone, zone_policy=zone_policy, failures=failures, cooldown=cooldown)
        self.replace(backends, 0.0)

    def configure(self, *, zone: str, zone_policy: str, failures: int = 2, cooldown: float = 30.0) -> None:
        """Sets the rules, which hold from the next decision on.

        :param zone: where the balancer is.
        :param zone_policy: a value of ZonePolicy.
        :param failures: consecutive failures that take a backend out, at least 1.
        :param cooldown: for how many seconds they do, 0 or more.

        Raises ValueError, and changes nothing, when a value is not one of these.
        """
        rule = ZonePolicy(zone_policy)
        if failures < 1:
            raise ValueError(f"failures is {failures}: a backend can be taken out after 1 failure or more")
        if not 0 <= cooldown < math.inf:
            raise ValueError(f"cooldown is {cooldown}: give seconds, 0 or more")
        self._zone, self._zone_policy, self._failures, self._cooldown = zone, rule, failures, cooldown

    def replace(self, backends: Iterable[Backend], now: float) -> None:
        """Makes these the backends of the pool. The state of those that stay (by id) is kept; running leases go on.

        Raises ValueError, and changes nothing, when two have the same id.
        """
        wanted: dict[str, Backend] = {}
        for backend in backends:
            if backend.id in wanted:
                raise ValueError(f"two backends are called {backend.id!r}: ids must differ")
            wanted[backend.id] = backend
        present, self._candidates = self._candidates, {}
        for name, backend in wanted.items():
            candidate = self._candidates[name] = present.get(name) or Candidate(backend)
            candidate.backend = backend

    def report(self, backend_id: str, health: Health, now: float, detail: str = "", load: int = 0) -> None:
        """Records the observed health, and the number of requests that the backend reports.

        One that becomes ready may be used at once, whatever its breaker said.
        A backend that is not in the pool (any more) is ignored: its watcher may be a moment late.
        """
        candidate = self._candidates.get(backend_id)
        if candidate is None:
            return
        if health is Health.READY and candidate.health is not Health.READY:
            candidate.breaker.close()
        candidate.health, candidate.detail, candidate.reported = health, detail, load

    def acquire(self, request: Request, now: float, tried: Collection[str] = ()) -> Lease:
        """Chooses a backend and counts the request there, in one step.

        :param tried: ids of backends at which this request failed already. They are chosen only when no other is usable.

        Raises NoBackend when no backend is usable: ready, not taken out by its breaker, with the model, within the zone rule.
        """
        usable = [
            one
            for one in self._candidates.values()
            if one.health is Health.READY and request.model in one.backend.models and one.breaker.lets_pass(now)
        ]
        untried = [one for one in usable if one.backend.id not in tried]
        candidates = next((tier for group in (untried, usable) for tier in self._zone_tiers(group) if tier), None)
        if candidates is None:
            raise self._refusal(request, now)
        chosen = self._policy.choose(candidates, request, now)
        lease = Lease(chosen.backend, request, now, chosen)
        self._policy.on_acquired(lease)
        # Count last: an exception in a policy must not leave a counted request that is never released.
        lease._period = chosen.breaker.start()
        chosen.in_flight += 1
        self._choices += 1
        chosen.last_chosen = self._choices
        return lease

    def answered(self, lease: Lease, said: Timings, now: float) -> None:
        """Records the timings of an answer. Call it before ``release``."""
        self._policy.on_answered(lease, said, now)

    def release(self, lease: Lease, outcome: Outcome, now: float) -> bool:
        """Notes the end of a request, whose backend may have left the pool. Returns whether it is the first call for the lease:
        only that counts.
        """
        if lease._released:
            return False
        lease._released = True
        candidate = lease._candidate
        candidate.in_flight -= 1
        if outcome is Outcome.SUCCESS:
            candidate.served += 1
            candidate.breaker.succeed(lease._period)
        elif outcome is Outcome.FAILURE:
            candidate.breaker.fail(lease._period, now, self._failures, self._cooldown)
        else:
            candidate.breaker.abandon(lease._period)
        self._policy.on_released(lease, outcome, now)
        return True

    def snapshot(self, now: float) -> list[dict[str, Any]]:
        """Returns the state of each backend in plain words and numbers, in the order of the inventory.

        ``opened_until`` is in seconds of ``now``, None while the breaker is closed; the rest is as in Candidate and Breaker.
        """
        return [
            {
                "id": one.backend.id,
                "zone": one.backend.zone,
                "slots": one.backend.slots,
                "health": one.health.value,
                "detail": one.detail,
                "in_flight": one.in_flight,
                "reported": one.reported,
                "state": one.breaker.state(now).value,
                "failures": one.breaker.failures,
                "opened_until": one.breaker.opened_until,
                "served": one.served,
            }
            for one in self._candidates.values()
        ]

    def _zone_tiers(self, candidates: Sequence[Candidate]) -> list[Sequence[Candidate]]:
        """The zone rule: returns groups of candidates. One of a later group is chosen only when those before it are empty."""
        if self._zone_policy is ZonePolicy.ANY:
            return [candidates]
        local = [one for one in candidates if one.backend.zone == self._zone]
        if self._zone_policy is ZonePolicy.LOCAL_ONLY:
            return [local]
        return [local, [one for one in candidates if one.backend.zone != self._zone]]

    def _refusal(self, request: Request, now: float) -> NoBackend:
        """Says why there is no usable backend for the request."""
        where = f" in zone {self._zone!r}" if self._zone_policy is ZonePolicy.LOCAL_ONLY else ""
        serving = [one for one in self._candidates.values() if request.model in one.backend.models]
        lacks: Counter[str] = Counter()
        waits: list[float] = []
        for one in (one for tier in self._zone_tiers(serving) for one in tier):
            until = one.breaker.opened_until
            if one.health is not Health.READY:
                lacks[one.health.value] += 1
                waits.append(SECONDS_UNTIL_READY[one.health])
            elif until is not None and until > now:
                lacks["cooling down"] += 1
                waits.append(until - now)
            else:
                lacks["on trial"] += 1
                waits.append(SECONDS_OF_A_TRIAL)
        if not waits:
            return NoBackend(f"no backend{where} has model {request.model!r}", SECONDS_UNTIL_ADDED)
        found = ", ".join(f"{count} {word}" for word, count in sorted(lacks.items()))
        retry_after = max(1, math.ceil(round(min(waits), 3)))  # to the millisecond: 30.000000001 s are not 31
        return NoBackend(f"no backend{where} can take model {request.model!r} now: {found}", retry_after)
