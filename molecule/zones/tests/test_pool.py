# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory decides: who belongs to the pool, and which zones a request may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from conftest import SERVERS, UNIT, Balancer, key_of
from developers import Client, Crowd, eventually
from people import Operator
from testinfra.host import Host


def requests_seen(host: Host) -> int:
    """Returns how many questions a server's own log tells of."""
    return host.check_output(f"journalctl --unit={UNIT} --no-pager --output=cat").count("launch_slot_")


@pytest.fixture
def rule(operator: Operator, balancer: Balancer) -> Iterator[Callable[[str], None]]:
    """Sets the zone rule by a run of the playbook, and the default again at the end."""

    def apply(policy: str) -> None:
        run = operator.run("--tags", "balancer", copilot_zone_policy=policy)
        assert run.status == 0, run.output[-3000:]

    yield apply
    apply("any")


def test_a_host_joins_and_leaves_without_cutting_a_stream(
    crowd: Callable[..., Crowd], operator: Operator, hosts: dict[str, Host], balancer: Balancer
) -> None:
    joined = {"oslo": ["oslo-1"], "copilot_servers:children": ["oslo"]}
    with crowd(developers=2) as developers:
        developers.asked(6)
        run = operator.run(groups=joined)
        assert run.status == 0, run.output[-3000:]
        balancer.wait_for(*SERVERS, "oslo-1")
        eventually(lambda: balancer.served()["oslo-1"] > 0, "oslo-1 works", 30)
        run = operator.run("--tags", "balancer")
        assert run.status == 0, run.output[-3000:]
        balancer.wait_for(*SERVERS)
        developers.asked(6)
    assert developers.lost() == []
    assert developers.cut() == []
    assert "oslo-1" not in hosts["madrid-1"].check_output("cat /etc/slm-copilot/proxy/pool.json")
    assert key_of("oslo-1", "backend-keys"), "the key is kept, should the host come back"


def test_a_zone_that_must_not_be_left_is_not(
    rule: Callable[[str], None], client: Client, hosts: dict[str, Host], balancer: Balancer
) -> None:
    """Not even when nothing in it works; the other zones' own logs are the witnesses."""
    rule("local_only")
    before = {name: requests_seen(hosts[name]) for name in SERVERS}
    assert [client.chat().status for _one in range(6)] == [200] * 6
    hosts["madrid-1"].check_output(f"systemctl stop {UNIT}")
    try:
        eventually(lambda: "madrid-1" not in balancer.usable(), "its server is out", 20)
        answer = client.chat()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        hosts["madrid-1"].check_output(f"systemctl start {UNIT}")
    after = {name: requests_seen(hosts[name]) for name in SERVERS}
    assert after["madrid-1"] - before["madrid-1"] == 6
    assert (after["paris-1"], after["berlin-1"]) == (before["paris-1"], before["berlin-1"])
    balancer.wait_for(*SERVERS)


def test_a_preferred_zone_is_left_only_when_nothing_in_it_works(
    rule: Callable[[str], None], client: Client, hosts: dict[str, Host], balancer: Balancer
) -> None:
    rule("prefer_local")
    before = balancer.served()
    assert [client.chat().status for _one in range(4)] == [200] * 4
    hosts["madrid-1"].check_output(f"systemctl stop {UNIT}")
    try:
        eventually(lambda: "madrid-1" not in balancer.usable(), "its server is out", 20)
        assert [client.chat().status for _one in range(4)] == [200] * 4
    finally:
        hosts["madrid-1"].check_output(f"systemctl start {UNIT}")
    balancer.wait_for(*SERVERS)
    eventually(lambda: sum(balancer.served().values()) == sum(before.values()) + 8, "all have ended", 10)
    after = balancer.served()
    assert after["madrid-1"] - before["madrid-1"] == 4


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"copilot_zone_policy": "local"}, "any, prefer_local, local_only", id="unknown rule"),
        pytest.param({"copilot_extra_backends": ["paris-1:8443"]}, "entry 1, has another form", id="backend without key"),
        pytest.param({"litellm_lb_request_timeout": 0}, "litellm_lb_request_timeout (0, seconds)", id="no time at all"),
        pytest.param({"litellm_lb_cooldwn": 5}, "did you mean litellm_lb_cooldown?", id="misspelt variable"),
    ],
)
def test_a_mistake_is_refused_before_a_host_is_touched(
    operator: Operator, hosts: dict[str, Host], variables: dict[str, object], expected: str
) -> None:
    content = "cat /etc/slm-copilot/proxy/* | sha256sum"
    before = hosts["madrid-1"].check_output(content)
    run = operator.run(**variables)
    assert run.status != 0
    assert expected in " ".join(run.output.split())
    assert hosts["madrid-1"].check_output(content) == before
