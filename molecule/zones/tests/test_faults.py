# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What developers notice when a server dies, hangs, is cut off or restarts, and when the balancer does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import BALANCERS, SERVERS, caller
from developers import Client, Crowd, eventually
from fleet import PROXY, UNIT, Balancer, key_of, litellms, spoilt
from testinfra.host import Host

WITHOUT_PARIS = ("madrid-1", "berlin-1")


def in_flight(balancer: Balancer, name: str) -> int:
    return balancer.backends()[name]["in_flight"]


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        pytest.param(f"systemctl kill --signal KILL {UNIT}", "true", id="killed"),
        pytest.param(
            f"systemctl kill --signal STOP {UNIT}", f"systemctl kill --signal CONT {UNIT}", id="hangs", marks=pytest.mark.full
        ),
        pytest.param(f"systemctl restart --no-block {UNIT}", "true", id="restarts and loads its model"),
    ],
)
def test_nobody_loses_more_than_what_a_dead_server_had_begun(
    crowd: Callable[..., Crowd], hosts: dict[str, Host], balancer: Balancer, spoil: str, mend: str
) -> None:
    with crowd() as developers:
        developers.asked(6)
        eventually(lambda: in_flight(balancer, "paris-1") > 0, "paris-1 has work")
        mark = balancer.mark()
        with spoilt(hosts["paris-1"], spoil, mend):
            eventually(lambda: "backend paris-1 is " in balancer.log_since(mark), "the router has noticed")
            developers.asked(12)
        balancer.wait_for(*SERVERS)
        served = balancer.served()["paris-1"]
        eventually(lambda: balancer.served()["paris-1"] > served, "paris-1 is used again")
    assert developers.lost() == []
    assert len(developers.cut()) <= 2, "what its two slots had begun"


@pytest.mark.full
def test_nobody_loses_more_when_a_network_goes(crowd: Callable[..., Crowd], hosts: dict[str, Host], balancer: Balancer) -> None:
    """Packets vanish, so that no connection is ever closed."""
    down, up = (f"podman exec --privileged paris-1 ip link set eth0 {state}" for state in ("down", "up"))
    here = hosts["controller"]
    with crowd() as developers:
        developers.asked(6)
        with spoilt(here, down, up):
            eventually(lambda: "paris-1" not in balancer.usable(), "the router has noticed")
            developers.asked(12)
        balancer.wait_for(*SERVERS)
        developers.asked(6)
    assert developers.lost() == []
    assert len(developers.cut()) <= 2


@pytest.mark.full
def test_all_servers_down_and_back(client: Client, hosts: dict[str, Host], balancer: Balancer) -> None:
    for name in SERVERS:
        hosts[name].check_output(f"systemctl stop {UNIT}")
    try:
        eventually(lambda: not balancer.usable(), "all are out")
        answer = client.chat()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["message"]
        hosts["berlin-1"].check_output(f"systemctl start {UNIT}")  # returns when it is ready
        eventually(lambda: client.chat().status == 200, "it answers again", 10)
    finally:
        for name in SERVERS:
            hosts[name].check_output(f"systemctl start {UNIT}")


@pytest.mark.parametrize("name", BALANCERS)
def test_a_balancer_restarts_under_load(crowd: Callable[..., Crowd], hosts: dict[str, Host], name: str) -> None:
    """The old process ends with its last stream, beside the new one."""
    old, client = litellms(hosts[name]), caller(key_of("shared", "api-keys"), BALANCERS[name])
    with crowd(asks=client) as developers:
        developers.asked(6)
        long = client.streaming(max_tokens=6000, ignore_eos=True)
        next(long)
        hosts[name].check_output(f"systemctl restart {PROXY}")
        developers.asked(12)
    *_pieces, seen = long
    assert seen.finished and not seen.error and len(seen.pieces) > 5000
    assert developers.lost() == []
    assert developers.cut() == []
    eventually(lambda: not litellms(hosts[name]) & old, "the old process ends", 30)
    assert len(litellms(hosts[name])) == 1


def test_a_litellm_that_does_not_start_takes_nobody_s_place(client: Client, hosts: dict[str, Host]) -> None:
    broken = f"/run/systemd/system/{PROXY}.d/broken.conf"
    setting = "[Service]\\nEnvironment=COPILOT_POOL_FILE=/none\\n"
    spoil = f"mkdir -p $(dirname {broken}); printf '{setting}' > {broken}; systemctl daemon-reload"
    old = litellms(hosts["madrid-1"])
    with spoilt(hosts["madrid-1"], spoil, f"rm {broken}; systemctl daemon-reload; systemctl restart {PROXY}"):
        assert hosts["madrid-1"].run(f"systemctl restart {PROXY}").rc != 0
        assert [client.chat().status for _one in range(4)] == [200] * 4
        assert old <= litellms(hosts["madrid-1"])
    assert client.chat().status == 200
    eventually(lambda: not litellms(hosts["madrid-1"]) & old, "the old process ends", 30)


@pytest.mark.parametrize(
    ("spoil", "mend", "expected"),
    [
        pytest.param(
            "cp -p {0} /root/kept && sed -i 's/^[0-9a-f]*/{1}/' {0}".format("/etc/slm-copilot/keys.map", "0" * 64),
            "cp -p /root/kept /etc/slm-copilot/keys.map; rm /root/kept",
            "backend paris-1 is out: its key is refused",
            id="another key",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "mkdir /root/kept && cp -p /etc/slm-copilot/*.pem /root/kept && "
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=stranger "
            "-addext subjectAltName=IP:10.89.79.12,IP:127.0.0.1 -keyout /etc/slm-copilot/server-key.pem "
            "-out /etc/slm-copilot/server.pem 2>/dev/null && cp /etc/slm-copilot/server.pem /etc/slm-copilot/ca.pem",
            "cp -p /root/kept/*.pem /etc/slm-copilot/; rm -r /root/kept",
            "backend paris-1 is out: its certificate",
            id="a stranger's certificate",
        ),
    ],
)
def test_a_server_that_is_not_ours_is_out(
    client: Client, hosts: dict[str, Host], balancer: Balancer, spoil: str, mend: str, expected: str
) -> None:
    mark = balancer.mark()
    restart = f"systemctl reset-failed {UNIT}; systemctl restart {UNIT} && systemctl reload slm-copilot-gateway"
    with spoilt(hosts["paris-1"], f"{spoil} && {restart}", f"{mend}; {restart}"):
        eventually(lambda: expected in balancer.log_since(mark), expected)
        assert balancer.backends()["paris-1"]["health"] == "refused"
        assert [client.chat().status for _one in range(4)] == [200] * 4
