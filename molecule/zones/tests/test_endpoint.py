# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one endpoint: what it answers, to whom, and where requests go."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from conftest import BALANCERS, SERVERS, caller
from developers import Client, Crowd, eventually
from engine import slots_busy
from fleet import PROXY, UNIT, Balancer, key_of
from people import Operator
from testinfra.host import Host


def test_all_checks_pass_through_each_balancer(operator: Operator) -> None:
    run = operator.run(playbook="playbooks/validate.yml")
    assert run.status == 0, run.output[-3000:]
    assert run.output.count(" ok  ") >= 7 * len(BALANCERS)


def test_the_second_balancer_runs_debian_13(hosts: dict[str, Host]) -> None:
    """With the HAProxy, the OpenSSL and the Python of its own, unlike the first."""
    host = hosts["berlin-2"]
    assert host.system_info.release.startswith("13")
    assert host.check_output("/opt/slm-copilot/litellm/current/bin/python --version").startswith("Python 3.13.")
    assert host.check_output("haproxy -v").startswith("HAProxy version 3.0.")
    handshake = host.run("openssl s_client -connect localhost:8443 </dev/null 2>&1").stdout
    assert "group: X25519MLKEM768" in handshake, "what is recorded today is not to be read tomorrow"
    assert host.check_output("systemctl is-system-running --wait") == "running"
    assert not host.file("/opt/slm-copilot/llama.cpp").exists, "it is no server"


def test_both_balancers_see_the_same_servers(hosts: dict[str, Host]) -> None:
    for name in BALANCERS:
        Balancer(hosts[name]).wait_for(*SERVERS)


def test_streams_at_once_go_to_all_servers_alike(client: Client, balancer: Balancer) -> None:
    before = balancer.served()
    threads = [threading.Thread(target=client.stream, kwargs={"max_tokens": 1200, "ignore_eos": True}) for _one in range(6)]
    for one in threads:
        one.start()
    eventually(lambda: sum(one["in_flight"] for one in balancer.backends().values()) == 6, "all are under way")
    assert [one["in_flight"] for one in balancer.backends().values()] == [2, 2, 2]
    for one in threads:
        one.join()
    eventually(lambda: sum(balancer.served().values()) == sum(before.values()) + 6, "all have ended")
    assert {name: count - before[name] for name, count in balancer.served().items()} == dict.fromkeys(SERVERS, 2)
    assert all(one["in_flight"] == 0 for one in balancer.backends().values())


def test_a_developer_who_leaves_frees_the_slot(client: Client, hosts: dict[str, Host], balancer: Balancer) -> None:
    stream = client.streaming(max_tokens=6000, ignore_eos=True)
    next(stream)
    eventually(lambda: any(one["in_flight"] for one in balancer.backends().values()), "it is under way")
    (name,) = (name for name, one in balancer.backends().items() if one["in_flight"])
    stream.close()
    eventually(lambda: balancer.backends()[name]["in_flight"] == 0, "the router has let go")
    eventually(lambda: not slots_busy(hosts[name]), "the server's slot is free")


@pytest.mark.parametrize(
    "path", ["/", "/ui/", "/docs", "/openapi.json", "/model/info", "/key/generate", "/mcp", "/metrics", "/slots"]
)
def test_nothing_else_answers(client: Client, path: str) -> None:
    answer = client.request("GET", path)
    assert answer.status in (403, 404)
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("address", BALANCERS.values(), ids=BALANCERS)
def test_a_wrong_key_is_refused_in_openais_form(address: str) -> None:
    answer = caller("sk-wrong-wrong-wrong-wrong", address).chat()
    assert answer.status == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_refused_with_those_that_there_are(client: Client) -> None:
    answer = client.chat(model="gpt-5")
    assert answer.status == 404
    assert "devstral-small-2" in answer.json()["error"]["message"]


def test_nobody_gets_to_the_servers_past_the_balancer(hosts: dict[str, Host]) -> None:
    developer = key_of("shared", "api-keys")
    assert caller(developer, "10.89.79.12").chat().status == 401, "a server knows the balancer's key only"
    listening = hosts["madrid-1"].check_output("ss --listening --tcp --numeric --no-header")
    open_to_all = {line.split()[3].rpartition(":")[2] for line in listening.splitlines() if "127.0.0.1" not in line.split()[3]}
    assert open_to_all <= {"22", "8443", "8406"}, "the last is for balancers, which show each other certificates"


def test_another_balancer_would_reach_the_server_of_the_first() -> None:
    """With the server's own key the gateway hands on to it, and to nothing else."""
    answer = caller(key_of("madrid-1", "backend-keys")).chat()
    assert answer.status == 200


def test_keys_are_nowhere_else(hosts: dict[str, Host]) -> None:
    keys = [key_of("shared", "api-keys"), *(key_of(name, "backend-keys") for name in SERVERS)]
    for name in (*SERVERS, "berlin-2"):
        host = hosts[name]
        seen = b"\n".join(
            host.run(command).stdout_bytes
            for command in (
                "ps -eo args",
                "cat /proc/[0-9]*/environ | tr '\\0' '\\n'",
                "journalctl --no-pager",
                "cat /etc/systemd/system/slm-copilot*.service /etc/slm-copilot/*.cfg /etc/slm-copilot/report.json /etc/motd.d/*",
                "cat /etc/slm-copilot/proxy/config.yaml /etc/slm-copilot/proxy/pool.json /run/slm-copilot-proxy/state/*",
                "find /tmp /var/tmp /root -type f -exec cat {} +",
                "find /etc/slm-copilot /run/slm-copilot* -type f -perm /o=r -exec cat {} +",
            )
        )
        assert [one[:8] for one in keys if one.encode() in seen] == [], name


def test_a_developers_key_comes_and_goes_without_a_restart(operator: Operator, hosts: dict[str, Host]) -> None:
    units = (PROXY, "slm-copilot-gateway.service", "slm-copilot-router.service", UNIT)

    def started() -> str:
        return hosts["madrid-1"].check_output(
            f"systemctl show --property=MainPID,ActiveEnterTimestampMonotonic {' '.join(units)}"
        )

    before = started()
    assert operator.run("--tags", "gateway", copilot_users=[{"name": "alice"}]).status == 0
    at_each = [caller(key_of("alice", "api-keys"), address) for address in BALANCERS.values()]
    assert [alice.chat().status for alice in at_each] == [200, 200]
    run = operator.run("-vvv", "--diff", "--tags", "gateway", copilot_users=[{"name": "alice", "state": "absent"}])
    assert run.status == 0
    assert at_each[0].key not in run.output
    assert [alice.chat().status for alice in at_each] == [401, 401]
    assert started() == before


def test_lost_keys_are_replaced_and_no_question_is_lost(operator: Operator, client: Client, crowd: Callable[..., Crowd]) -> None:
    """First those between balancers and servers, while a developer asks; then that of the developer."""
    rotate = "playbooks/rotate.yml"
    former, paris = key_of("paris-1", "backend-keys"), "10.89.79.12"
    with crowd(developers=1, tokens=60) as developers:
        run = operator.run("-vvv", "--diff", "--tags", "gateway,balancer", playbook=rotate, rotate="backends")
        assert run.status == 0, run.output[-3000:]
        developers.asked(3)
    assert developers.lost() == [] and developers.cut() == []
    key = key_of("paris-1", "backend-keys")
    assert [caller(one, paris).chat().status for one in (former, key)] == [401, 200]
    assert [one for one in (former, key) if one in run.output] == []

    run = operator.run("--tags", "gateway", playbook=rotate, rotate="keys", rotate_users="shared")
    assert run.status == 0, run.output[-3000:]
    new = caller(key_of("shared", "api-keys"))
    assert [one.chat().status for one in (client, new)] == [401, 200]


def test_the_last_word_of_the_report_is_about_the_backends(hosts: dict[str, Host]) -> None:
    report = hosts["madrid-1"].check_output("cat /etc/one-appliance/config")
    for name, zone in zip(SERVERS, ("madrid", "paris", "berlin")):
        assert f"{name} = ready, zone {zone}" in report
    assert hosts["paris-1"].check_output("grep balancers /etc/one-appliance/config") == "balancers      = madrid-1, berlin-2"


def test_a_long_question_arrives_whole(client: Client) -> None:
    answer = client.chat(messages=[{"role": "user", "content": "word " * 5000}])
    assert answer.status == 200, answer.body
    assert answer.json()["usage"]["prompt_tokens"] > 5000
