# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes of a fleet that serves, and versions that are not well. Answers take half a minute and more, one five minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BALANCERS, FIVE_MINUTES, SERVERS, Operator, client_of, seconds_of, tokens_in, without_variants
from developers import Stream
from fleet import REBOOT, litellms, machines, starts
from testinfra.host import Host


@pytest.mark.usefixtures("slower")
def test_litellm_and_the_engine_change_while_one_answer_takes_five_minutes(
    operator: Operator,
    hosts: dict[str, Host],
    crowd: Callable[..., Any],
    engine: Callable[..., Any],
    of_one_mind: Callable[[], str],
) -> None:
    other, before = engine("other"), of_one_mind()
    processes = {name: litellms(hosts[name]) for name in BALANCERS}
    client, long = client_of("berlin-2"), list[Stream]()
    developer = threading.Thread(
        target=lambda: long.append(client.stream(max_tokens=tokens_in(client, FIVE_MINUTES), ignore_eos=True)), daemon=True
    )
    with crowd():
        developer.start()
        operator.well(litellm_lb_memory_max_mib=2049)
        assert not long and all(litellms(hosts[name]) - processes[name] for name in BALANCERS), "new ones answer, beside the old"
        operator.well(litellm_lb_memory_max_mib=2049, **other)
        developer.join()
    assert long[0].finished and not long[0].error and seconds_of(long[0]) >= FIVE_MINUTES
    assert of_one_mind() != before
    operator.unchanged(*SERVERS, *BALANCERS, litellm_lb_memory_max_mib=2049, **other)


@pytest.mark.parametrize("kind", ["model", "router", "configuration"])
def test_a_change_is_not_noticed(
    kind: str, request: pytest.FixtureRequest, operator: Operator, crowd: Callable[..., Any], of_one_mind: Callable[[], str]
) -> None:
    """Each takes back the one before."""
    change = {
        "model": lambda: request.getfixturevalue("other_model"),
        "router": lambda: {"router_signs": 14},
        "configuration": lambda: {"llama_server_timeout": 3601},
    }[kind]()
    before = of_one_mind()
    with crowd():
        operator.well(**change)
    assert of_one_mind() != before
    operator.unchanged(*SERVERS, *BALANCERS, **change)


def test_hosts_reboot(
    operator: Operator, hosts: dict[str, Host], crowd: Callable[..., Any], of_one_mind: Callable[[], str]
) -> None:
    """One of them is a balancer, too; developers come to the other one."""
    names, before = ("madrid-1", "paris-1"), of_one_mind()
    started = {name: starts(hosts[name]) for name in names}
    with crowd(), machines(*names):
        operator.well("--limit", ",".join(names), **REBOOT)
    assert all(starts(hosts[name]) != started[name] for name in names)
    assert of_one_mind() == before


def computes_nonsense(programs: Path) -> None:
    """As when a kernel computes wrongly."""
    program = programs / "llama-server"
    program.rename(programs / "llama-server-right")
    wrong = "--override-kv llama.attention.layer_norm_rms_epsilon=float:10000"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || set -- "$@" {wrong}\nexec "$(dirname "$0")/llama-server-right" "$@"\n'
    )
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(without_variants(), "it does not start", id="does not start"),
        pytest.param(without_variants("x64"), "it is more than 60 % slower", id="is slow"),
        pytest.param(computes_nonsense, "its answers make no sense", id="talks nonsense"),
    ],
)
def test_an_engine_that_is_not_well_goes_by_itself(
    spoil: Callable[[Path], None],
    reason: str,
    request: pytest.FixtureRequest,
    operator: Operator,
    crowd: Callable[..., Any],
    engine: Callable[..., Any],
    of_one_mind: Callable[[], str],
) -> None:
    """The first host rolls back, and the others do not begin."""
    operator.well()
    bad, before = engine(request.node.name, spoil), of_one_mind()
    with crowd():
        refused = operator.run(copilot_gate_slowdown=60, **bad)
    said = " ".join(refused.output.split())
    assert refused.status != 0 and reason in said, refused.output[-4000:]
    assert "The previous version was restored, and this change is refused until it differs" in said
    assert "failed: this host keeps running unchanged" in said
    assert of_one_mind() == before
    again = operator.run(copilot_gate_slowdown=60, **bad)
    assert again.status != 0 and "this change is refused, because it was rolled back before" in " ".join(again.output.split())
    assert of_one_mind() == before
