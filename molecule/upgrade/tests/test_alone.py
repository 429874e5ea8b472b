# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes of a server without a balancer: who asks meanwhile waits, and is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import ALONE, Operator, version_of, without_variants
from testinfra.host import Host


def test_an_engine_comes_and_goes(
    operator_alone: Operator, hosts: dict[str, Host], crowd: Callable[..., Any], engine: Callable[..., Any]
) -> None:
    """One that does not start by itself, and one that works by a rollback."""
    operator, before = operator_alone, version_of(hosts[ALONE])
    good, bad = engine("good"), engine("does not start", without_variants())
    with crowd(ALONE):
        operator.well(**good)
        changed = version_of(hosts[ALONE])
        broken = operator.run(**bad)
        assert version_of(hosts[ALONE]) == changed != before
        operator.well(playbook="playbooks/rollback.yml")
    assert broken.status != 0 and "The previous version was restored" in " ".join(broken.output.split()), broken.output[-3000:]
    assert version_of(hosts[ALONE]) == before
    operator.well()  # the report names the engine
    operator.unchanged(ALONE)
