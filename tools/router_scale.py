# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measures what a decision of the router costs on this machine, with many backends and developers."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "roles" / "router" / "files"))

from copilot_router.conversations import chain_of
from copilot_router.policy import LeastBusy, Policy
from copilot_router.pool import Backend, Health, NoBackend, Outcome, Pool, Request
from copilot_router.warmest import Warmest

ROUNDS = 2000


POLICIES: dict[str, Callable[[], Policy]] = {"least-busy": LeastBusy, "warmest": Warmest}


def pool_of(backends: int, policy: Policy) -> Pool:
    """Returns a pool of that many ready backends in three zones, all of which may be used."""
    zones = ("madrid", "paris", "berlin")
    inventory = [Backend(f"backend-{number}", zones[number % 3], 1, frozenset({"tiny"})) for number in range(backends)]
    pool = Pool(inventory, policy=policy, zone="madrid", zone_policy="any", failures=1)
    for backend in inventory:
        pool.report(backend.id, Health.READY, 0.0)
    return pool


def microseconds(nanoseconds: list[int]) -> tuple[float, float]:
    """Returns the median and the 99th percentile, in microseconds."""
    cuts = statistics.quantiles(nanoseconds, n=100)
    return round(cuts[49] / 1000, 1), round(cuts[98] / 1000, 1)


def conversation(developer: int) -> Request:
    """Returns the sixtieth turn of a developer, after instructions that all share."""
    said = [{"role": "user", "content": f"{developer} {turn} " + "x" * 1000} for turn in range(60)]
    return Request("tiny", chain_of({"messages": [{"role": "system", "content": "y" * 40_000}, *said]}))


def measure_decisions(backends: int, developers: int, policy: str = "least-busy") -> dict[str, float]:
    """Measures decisions while every developer but one waits for an answer.

    :param policy: a key of POLICIES.
    :return: ``backends`` and ``developers`` as given; 50th and 99th percentile in microseconds of a decision
        (``decision_*_us``), and of one that finds no backend (``refusal_*_us``); memory in bytes of the pool (``pool_bytes``)
        and of one running request (``lease_bytes``).
    """
    requests = [conversation(developer) for developer in range(developers)]
    request = requests[-1]
    tracemalloc.start()
    try:
        pool = pool_of(backends, POLICIES[policy]())
        pool_bytes = tracemalloc.get_traced_memory()[0]
        leases = [pool.acquire(one, 0.0) for one in requests[:-1]]
        lease_bytes = (tracemalloc.get_traced_memory()[0] - pool_bytes) / max(1, len(leases))
    finally:
        tracemalloc.stop()

    decisions = []
    for _round in range(ROUNDS):
        start = time.perf_counter_ns()
        lease = pool.acquire(request, 0.0)
        decisions.append(time.perf_counter_ns() - start)
        pool.release(lease, Outcome.SUCCESS, 0.0)

    for lease in leases + [pool.acquire(request, 0.0) for _backend in range(backends)]:
        pool.release(lease, Outcome.FAILURE, 0.0)
    refusals = []
    for _round in range(ROUNDS):
        start = time.perf_counter_ns()
        try:
            pool.acquire(request, 0.0)
        except NoBackend:
            refusals.append(time.perf_counter_ns() - start)

    decision, refusal = microseconds(decisions), microseconds(refusals)
    return {
        "backends": backends,
        "developers": developers,
        "decision_p50_us": decision[0],
        "decision_p99_us": decision[1],
        "refusal_p50_us": refusal[0],
        "refusal_p99_us": refusal[1],
        "pool_bytes": pool_bytes,
        "lease_bytes": round(lease_bytes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", type=int, default=200)
    parser.add_argument("--developers", type=int, default=2000)
    parser.add_argument("--policy", choices=POLICIES, default="least-busy")
    print(json.dumps(measure_decisions(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
