# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory decides: who belongs to the pool, and which zones a request may see."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import BALANCER, SERVERS, caller
from developers import Client, Crowd, eventually
from fleet import PROXY, UNIT, Balancer, key_of, spoilt
from people import Operator
from testinfra.host import Host

OSLO = "10.89.79.14"
JOINED = {"oslo": ["oslo-1"], "copilot_servers:children": ["oslo"]}
SECOND_BALANCER = {**JOINED, "copilot_balancers": ["oslo-1"]}
BARE = "zones-hub"
BARE_BALANCER = {"oslo": [BARE], "copilot_servers:children": ["oslo"], "copilot_balancers": [BARE]}
POOL = "/etc/slm-copilot/proxy/pool.json"


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


def test_check_mode_changes_nothing(operator: Operator, hosts: dict[str, Host]) -> None:
    """Not when a bare host is to be a server and a balancer, and the others are to know it."""
    files = "find /etc/slm-copilot /etc/one-appliance -type f -exec stat --format='%n %i %y' {} + | sort"
    before = {name: hosts[name].check_output(files) for name in SERVERS}
    run = operator.run("--check", "--diff", groups=BARE_BALANCER)
    assert run.status == 0, run.output[-3000:]
    assert run.changed("madrid-1") > 0, "its pool would get another server"
    assert key_of("shared", "api-keys") not in run.output
    assert {name: hosts[name].check_output(files) for name in SERVERS} == before
    for path in ("/etc/slm-copilot", "/opt/slm-copilot", "/usr/bin/pip3", "/usr/sbin/haproxy"):
        assert not hosts[BARE].file(path).exists, path


def test_an_unsupported_system_is_refused_before_the_host_is_touched(operator: Operator, hosts: dict[str, Host]) -> None:
    """As a balancer, too, which compiles nothing."""
    host = hosts["oslo-1"]
    older = "cd /etc; cp debian_version os-release /root; echo 11.11 >debian_version; sed -i s/12/11/ /usr/lib/os-release"
    with spoilt(host, older, "mv /root/debian_version /etc/; mv /root/os-release /usr/lib/"):
        run = operator.run("--limit", "oslo-1", groups={"copilot_balancers": ["oslo-1"]})
    assert run.status != 0
    said = " ".join(run.output.split())
    assert "oslo-1: The host runs Debian 11.11 on x86_64, which is not supported: Debian 12 and Debian 13 on x86_64" in said
    assert run.changed("oslo-1") == 0
    assert not host.file("/etc/slm-copilot").exists


def test_a_host_joins_and_leaves_without_cutting_a_stream(
    crowd: Callable[..., Crowd], operator: Operator, hosts: dict[str, Host], balancer: Balancer
) -> None:
    """It joins as a server and as a second balancer, and a developer's key comes and goes at both."""

    def process() -> str:
        return hosts["madrid-1"].check_output(f"systemctl show --property=MainPID --value {PROXY}")

    def reached() -> str:
        return hosts["madrid-1"].check_output(f"systemctl show --property=IPAddressDeny,IPAddressAllow {PROXY}")

    before = process()
    denied = next(line for line in reached().splitlines() if line.startswith("IPAddressDeny="))
    assert set(denied.removeprefix("IPAddressDeny=").split()) == {"0.0.0.0/0", "::/0"} and OSLO not in reached()
    with crowd(developers=1) as developers:
        developers.asked(6)
        run = operator.run(groups=SECOND_BALANCER, copilot_users=[{"name": "alice"}])
        assert run.status == 0, run.output[-3000:]
        balancer.wait_for(*SERVERS, "oslo-1")
        eventually(lambda: balancer.served()["oslo-1"] > 0, "oslo-1 works")
        assert f"{OSLO}/32" in reached(), "systemd has taken up whom LiteLLM may reach"
        alice = [caller(key_of("alice", "api-keys"), address) for address in (BALANCER, OSLO)]
        assert [one.chat().status for one in alice] == [200, 200]
        absent = [{"name": "alice", "state": "absent"}]
        run = operator.run("--tags", "balancer,gateway", groups=SECOND_BALANCER, copilot_users=absent)
        assert run.status == 0, run.output[-3000:]
        assert [one.chat().status for one in alice] == [401, 401]
        run = operator.run("--tags", "balancer")
        assert run.status == 0, run.output[-3000:]
        balancer.wait_for(*SERVERS)
        developers.asked(6)
    assert developers.lost() == []
    assert developers.cut() == []
    assert process() == before
    assert OSLO not in reached()
    assert "oslo-1" not in hosts["madrid-1"].check_output(f"cat {POOL}")
    assert key_of("oslo-1", "backend-keys"), "the key is kept, should the host come back"


def test_a_balancer_of_once_stands_alone_and_is_a_backend_from_outside(
    operator: Operator, client: Client, hosts: dict[str, Host], balancer: Balancer, tmp_path: Path
) -> None:
    key, fleet = "sk-" + secrets.token_urlsafe(32), tmp_path / "fleet"
    alone = {"copilot_fleet_servers": ["oslo-1"], "copilot_fleet_balancers": [], "copilot_fleet_dir": str(fleet)}
    alone["copilot_fleet_adopt"] = True
    run = operator.run("--limit", "oslo-1", groups=JOINED, copilot_api_key=key, **alone)
    assert run.status == 0, run.output[-3000:]
    assert Client(key, OSLO, fleet / "ca/ca.pem").chat().status == 200
    assert not hosts["oslo-1"].service(PROXY).exists
    left = ["engine_switch.py", "llama.cpp", "model-fetch", "router", "router-venv", "wait_until_ready.py"]
    assert hosts["oslo-1"].check_output("ls /opt/slm-copilot").split() == left

    outside = {"copilot_extra_backends": [f"{key}@{OSLO}:8443"], "copilot_extra_backends_ca": str(fleet / "ca/ca.pem")}
    try:
        run = operator.run("--tags", "balancer", "-vvv", **outside)
        assert run.status == 0, run.output[-3000:]
        assert key not in run.output
        balancer.wait_for(*SERVERS, f"{OSLO}:8443")
        eventually(lambda: client.chat().status == 200 and balancer.served()[f"{OSLO}:8443"] > 0, "it is asked as well")
    finally:
        run = operator.run("--tags", "balancer")
    assert run.status == 0, run.output[-3000:]
    eventually(lambda: set(balancer.backends()) == set(SERVERS), "it has left")


def test_a_zone_that_must_not_be_left_is_not(
    rule: Callable[[str], None], client: Client, hosts: dict[str, Host], balancer: Balancer
) -> None:
    """Not even when nothing in it works; the other zones' own logs are the witnesses."""
    rule("local_only")
    before = {name: requests_seen(hosts[name]) for name in SERVERS}
    assert [client.chat().status for _one in range(6)] == [200] * 6
    hosts["madrid-1"].check_output(f"systemctl stop {UNIT}")
    try:
        eventually(lambda: "madrid-1" not in balancer.usable(), "its server is out")
        answer = client.chat()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        hosts["madrid-1"].check_output(f"systemctl start {UNIT}")
    after = {name: requests_seen(hosts[name]) for name in SERVERS}
    assert after["madrid-1"] - before["madrid-1"] == 6
    assert (after["paris-1"], after["berlin-1"]) == (before["paris-1"], before["berlin-1"])
    balancer.wait_for(*SERVERS)


@pytest.mark.full
def test_a_preferred_zone_is_left_only_when_nothing_in_it_works(
    rule: Callable[[str], None], client: Client, hosts: dict[str, Host], balancer: Balancer
) -> None:
    rule("prefer_local")
    before = balancer.served()
    assert [client.chat().status for _one in range(4)] == [200] * 4
    hosts["madrid-1"].check_output(f"systemctl stop {UNIT}")
    try:
        eventually(lambda: "madrid-1" not in balancer.usable(), "its server is out")
        assert [client.chat().status for _one in range(4)] == [200] * 4
    finally:
        hosts["madrid-1"].check_output(f"systemctl start {UNIT}")
    balancer.wait_for(*SERVERS)
    eventually(lambda: sum(balancer.served().values()) == sum(before.values()) + 8, "all have ended")
    after = balancer.served()
    assert after["madrid-1"] - before["madrid-1"] == 4
