# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes ``copilot_router`` importable from where the role keeps it, and what lies beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "router" / "files"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from copilot_router.policy import LeastBusy
from copilot_router.pool import Backend, Health, Pool

MODELS = frozenset({"tiny"})


@pytest.fixture
def make_pool():
    """``make_pool({"m1": "madrid"})`` gives a pool of these backends and zones, all ready, in zone madrid."""

    def make(zones, *, slots=1, ready=True, policy=None, zone_policy="any", **rules):
        backends = [Backend(name, zone, slots, MODELS) for name, zone in zones.items()]
        pool = Pool(backends, policy=policy or LeastBusy(), zone="madrid", zone_policy=zone_policy, **rules)
        for name in zones if ready else ():
            pool.report(name, Health.READY, 0.0)
        return pool

    return make
