# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs that are killed in the middle of a step, and a network that is cut, while developers never stop."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import BALANCERS, SERVERS, Operator
from developers import eventually
from fleet import Balancer, spoilt
from people import Run
from testinfra.host import Host

CONTROLLER = "10.89.91.1"


@pytest.mark.parametrize(
    ("progress", "change"),
    [
        pytest.param(r"TASK \[slm.copilot.llama_cpp_build : Install this version", {}, id="an engine is installed"),
        pytest.param(r"slm-copilot-router.service: waiting for in-flight", {"router_signs": 13}, id="the router restarts"),
        pytest.param(r"TASK \[slm.copilot.gateway : Start, restart", {"gateway_key_requests": 101}, id="the gateway reloads"),
        pytest.param(r"slm-copilot.service: waiting for in-flight", {"llama_server_timeout": 3602}, id="a host is drained"),
        pytest.param(r"slm-copilot.service: restarting", {"llama_server_timeout": 3603}, id="a host is not yet judged"),
        pytest.param(r"slm-copilot-proxy.service: restarting", {"litellm_lb_memory_max_mib": 2050}, id="LiteLLM restarts"),
    ],
)
def test_a_killed_run_loses_nothing_and_the_next_ends_it(
    progress: str,
    change: dict[str, Any],
    operator: Operator,
    crowd: Callable[..., Any],
    engine: Callable[..., Any],
    of_one_mind: Callable[[], str],
) -> None:
    change = change or engine("of a killed run")
    before = of_one_mind()
    with crowd(developers=4):
        operator.kill_at(re.compile(progress), **change)
        operator.well(**change)
    assert of_one_mind() != before or "gateway_key_requests" in change
    operator.unchanged(*SERVERS, *BALANCERS, **change)


@pytest.mark.parametrize("job_dies", [False, True], ids=["the host goes on alone", "nothing is left on the host"])
def test_a_line_that_is_cut_during_a_drain_harms_nobody(
    job_dies: bool, operator: Operator, hosts: dict[str, Host], crowd: Callable[..., Any], of_one_mind: Callable[[], str]
) -> None:
    """Packets between controller and host vanish, so that no connection is ever closed."""
    host, balancer = hosts["paris-1"], Balancer(hosts["berlin-2"])
    cut, mend = (f"podman exec --privileged paris-1 ip route {what} blackhole {CONTROLLER}/32" for what in ("add", "delete"))
    change, runs = {"llama_server_timeout": 3605 + job_dies}, list[Run]()
    operator.well()
    with crowd(developers=3):
        run = threading.Thread(target=lambda: runs.append(operator.run("--limit", "paris-1", **change)), daemon=True)
        run.start()
        eventually(lambda: balancer.backends()["paris-1"]["health"] == "draining", "paris-1 drains", every=0.5)
        with spoilt(hosts["controller"], cut, mend):
            if job_dies:
                host.check_output("pkill --signal KILL --full [s]ervice_restart")
            eventually(lambda: "paris-1" in balancer.usable(), "paris-1 is used again", 75 if job_dies else 120)
            served = balancer.served()["paris-1"]
            eventually(lambda: balancer.served()["paris-1"] > served, "it answers")
        run.join()
    (outcome,) = runs
    assert (outcome.status == 0) != job_dies, outcome.output[-3000:]
    operator.well(**change)
    of_one_mind()
    operator.unchanged(*SERVERS, *BALANCERS, **change)
