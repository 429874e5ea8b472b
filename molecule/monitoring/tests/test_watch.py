# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A monitor sees what the fleet does, and is seen by administrators alone."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CONFIG, MONITOR, SERVERS, Monitor, Page, key_of
from developers import Client, Crowd, eventually
from people import PROJECT, Operator
from testinfra.host import Host


def rested(monitor: Monitor, *counters: str) -> dict[str, float]:
    """Returns counters once nothing is added to them any more: twice the same, three scrapes apart."""
    seen: list[dict[str, float]] = []

    def unchanged() -> bool:
        seen.append({one: monitor.value(one) for one in counters})
        return len(seen) > 1 and seen[-1] == seen[-2]

    eventually(unchanged, "all is counted", every=6)
    return seen[-1]


def test_only_the_gateway_is_open(monitor: Monitor) -> None:
    listening = monitor.host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    open_ports = {line.split()[3].rpartition(":")[2] for line in listening if not line.split()[3].startswith("127.0.0.1:")}
    assert open_ports == {"22", "8443"}
    for unit in ("prometheus", "prometheus-alertmanager"):
        assert monitor.host.check_output(f"journalctl --unit={unit} --quiet --no-pager") == "", "it has never run"
    for unit in ("slm-copilot-prometheus", "slm-copilot-alertmanager"):
        assert (
            float(monitor.host.check_output(f"systemd-analyze security {unit} --no-pager | grep -o '[0-9.]* OK'").split()[0]) < 3
        )
    key = monitor.host.file(f"{CONFIG}/monitor-key")
    assert (key.user, key.group, key.mode) == ("root", "slm-copilot-monitor", 0o640)
    assert key_of("monitor@fleet") not in monitor.host.check_output("cat /proc/*/cmdline | tr '\\0' ' '")


def test_administrators_alone_see_it(monitor: Monitor, hosts: dict[str, Host]) -> None:
    """The tests come from one of their networks. A balancer passes the firewall, too."""
    query = "/prometheus/api/v1/query?query=up"
    assert replace(monitor.admin, key=None).request("GET", query).status == 200
    assert replace(monitor.admin, key=key_of("monitor@fleet")).request("GET", query).status == 404
    ask = f"""
import ssl, urllib.error, urllib.request
try:
    trust = ssl.create_default_context(cafile="/etc/slm-copilot/ca.pem")
    urllib.request.urlopen("https://{MONITOR}:8443{query}", timeout=10, context=trust)
except urllib.error.HTTPError as error:
    print(error.code)
"""
    assert hosts["madrid-1"].check_output("python3 -c %s", ask) == "401"


def test_the_whole_fleet_is_seen(monitor: Monitor) -> None:
    eventually(
        lambda: monitor.value('count(up{job=~"copilot-.+"} == 1)') == 12, "four gateways and hosts, three servers and a balancer"
    )
    seen = {(one["metric"]["job"], one["metric"]["instance"]) for one in monitor.query("up")}
    assert {host for job, host in seen if job == "copilot-server"} == set(SERVERS)
    eventually(lambda: not monitor.query('ALERTS{alertstate="firing"}'), "nothing is wrong")


def test_figures_are_those_of_the_developers(monitor: Monitor, client: Client) -> None:
    def on_the_page() -> dict[str, float]:
        answer = monitor.admin.request("GET", "/prometheus/consoles/fleet.html")
        return {name: float(shown) for name, shown in re.findall(r'<b id="(answered|generated)">([^<]*)</b>', answer.body)}

    requests = 'sum(copilot_balancer_requests_total{outcome="answered"})'
    generated = 'sum(copilot_balancer_tokens_total{kind="generated"})'
    eventually(lambda: client.chat().status == 200, "the fleet answers")
    before = rested(monitor, requests, generated)
    seen = on_the_page()
    with Crowd(client, developers=6, tokens=40) as crowd:
        crowd.asked(60)
    assert crowd.lost() == []
    after = rested(monitor, requests, generated)
    asked = len(crowd.streams)
    for what, number in {requests: asked, generated: 40 * asked}.items():
        assert after[what] - before[what] == pytest.approx(number, rel=0.01)
    for what, number in {"answered": asked, "generated": 40 * asked}.items():
        assert on_the_page()[what] - seen[what] == pytest.approx(number, rel=0.01), f"{what}, as the page has it"


def test_servers_count_what_developers_use(hosts: dict[str, Host], client: Client) -> None:
    """Each request once, by the server that answers it; names are nowhere."""

    def used() -> list[dict]:
        said = [hosts[name].run("cat /var/lib/slm-copilot/usage/*.jsonl").stdout for name in SERVERS]
        return [json.loads(line) for text in said for line in text.splitlines()]

    time.sleep(11)  # what was asked before is written by then
    before = sum(line["requests"] for line in used())
    assert [client.chat().status for _time in range(3)] == [200] * 3
    eventually(lambda: sum(line["requests"] for line in used()) == before + 3, "all three are counted")
    assert all(re.fullmatch("[0-9a-f]{16}", line["developer"]) for line in used())
    folder = hosts["paris-1"].file("/var/lib/slm-copilot/usage")
    assert (folder.user, folder.mode) == ("slm-copilot-router", 0o700)


def test_logs_have_pseudonyms(hosts: dict[str, Host], client: Client) -> None:
    assert client.chat().status == 200
    for unit, words in {
        "slm-copilot-proxy": r"INFO: request user=[0-9a-f]{16} model=tiny outcome=answered",
        "slm-copilot-gateway": r"user=- role=developer",
    }.items():
        lines = hosts["madrid-1"].check_output("journalctl --unit=%s --output=cat --no-pager", unit)
        assert re.search(words, lines)
        assert "user=shared" not in lines


def test_the_journal_keeps_lines_for_a_week(hosts: dict[str, Host]) -> None:
    limits = hosts["paris-1"].file("/etc/systemd/journald.conf.d/slm-copilot.conf").content_string
    assert limits.endswith("MaxRetentionSec=7day\n# journald removes only complete files.\nMaxFileSec=1day\n")
    assert hosts["paris-1"].check_output("journalctl --unit=systemd-journald --lines=1 --output=cat")


def test_the_page_shows_it(monitor: Monitor) -> None:
    rested(monitor, 'sum(copilot_server_requests_total{outcome="answered"})')  # it may scrape between page and query
    answer = monitor.admin.request("GET", "/prometheus/consoles/fleet.html")
    assert answer.status == 200
    shown = dict(re.findall(r'<b id="(\w+)">([^<]*)</b>', answer.body))
    assert float(shown["answered"]) == monitor.value('sum(copilot_server_requests_total{outcome="answered"})')
    assert shown["running"] == "0 / 6"
    hosts = dict(re.findall(r"<tr><td>([^<]+)</td><td[^>]*>(\w+)</td>", answer.body))
    assert hosts == dict.fromkeys((*SERVERS, "watch-1"), "up")
    assert "http" not in answer.body.replace("http-equiv", ""), "nothing comes from elsewhere"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_for_phones_and_screens(page: Page, scheme: str) -> None:
    seen = {width: page.seen(scheme, width, 900) for width in (390, 1200)}
    for width, one in seen.items():
        assert one.width <= width, "nobody scrolls sideways"
        assert one.fetched == [], "nothing comes from elsewhere"
        assert one.is_dark is (scheme == "dark")
        assert "paris-1" in one.text


def test_the_report_is_such_a_page_too(page: Page, tmp_path: Path) -> None:
    run = Operator(tmp_path, [PROJECT / "molecule/monitoring/inventory/hosts.yml"]).run(
        playbook="playbooks/report.yml", report_html=str(tmp_path / "report.html")
    )
    assert run.status == 0, run.output
    subprocess.run(["podman", "cp", tmp_path / "report.html", "watch-1:/root/report.html"], check=True)
    for scheme in ("light", "dark"):
        seen = replace(page, url="file:///root/report.html").seen(scheme, 390, 900)
        assert seen.width <= 390
        assert seen.fetched == []
        assert seen.is_dark is (scheme == "dark")
        assert {"madrid-1", "paris-1", "berlin-1"} <= set(seen.text.split())
