# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the playbook monitoring writes is enough for a real Prometheus, which sees through the gateway what a server did."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import render_key_file
from ansible_collections.slm.copilot.plugins.plugin_utils._textfile import host_metrics
from gateway_rig import DEVELOPERS, Gateway, entry, play
from metrics_rig import prometheus
from rig import CHECKOUT, Service, free_port, wait_for
from router_rig import EngineOnSocket, Router, serving

NAME = re.compile(r"(?<![:\w])(?:copilot|llamacpp|haproxy|node)_[a-z_]+(?![:\w])")  # of a metric that is no rule's
GENERATED = 'sum(copilot_server_tokens_total{kind="generated"})'
PAGE = CHECKOUT / "roles/monitoring/templates/fleet.html.j2"
KEY = "sk-monitor-of-the-contract-tests"


@pytest.fixture(scope="module")
def router(router_venv: Path, engine: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    work = tmp_path_factory.mktemp("router")
    (work / "slice/engine").mkdir(parents=True)
    (work / "slice/engine/memory.stat").write_text("anon 1000\nfile 3000\n")
    (work / "slice/engine/memory.max").write_text("5000\n")
    (work / "current").symlink_to("0.3.36-1a2b3c4d")
    llama = EngineOnSocket(engine, model, tmp_path_factory.mktemp("engine"))
    router = Router(router_venv, llama, work, engine_cgroup=str(work / "slice/engine"), engine_link=str(work / "current"))
    with serving(llama, router):
        yield router


@pytest.fixture(scope="module")
def gateway(
    router: Router, running: Service, fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Of a host that is a balancer and a server, and tells of itself."""
    work, port = tmp_path_factory.mktemp("exporter"), free_port()
    known = {
        "info": {},
        "ends": {"fleet_ca": "2036-01-01T00:00:00Z"},
        "plan": {"weights": 17},
        "tuning": {},
    }
    (work / "slm-copilot.prom").write_text(host_metrics(known))
    options = [
        f"--web.listen-address=127.0.0.1:{port}",
        f"--collector.textfile.directory={work}",
        "--web.disable-exporter-metrics",
    ]
    exporter = subprocess.Popen([prometheus() / "prometheus-node-exporter", *options], stderr=subprocess.DEVNULL)
    gateway = Gateway(
        tmp_path_factory.mktemp("gateway"),
        fleet_ca,
        gateway_upstream=f"unix@{running.work}/socket",
        gateway_local_server=f"unix@{router.socket}",
        gateway_host_metrics=f"127.0.0.1:{port}",
        gateway_keys=[*DEVELOPERS, entry("monitor@fleet", KEY, "monitor")],
    )
    gateway.start()
    yield gateway
    gateway.stop()
    exporter.kill()
    exporter.wait()


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A fleet of one host, which is a server and a balancer."""
    file = tmp_path / "zones.json"
    hosts = {"paris-1": {"ansible_host": "127.0.0.1", "copilot_endpoint_host": "paris.example.com"}}
    file.write_text(json.dumps({f"copilot_{group}": {"hosts": hosts} for group in ("servers", "balancers")}))
    (tmp_path / ".slm-copilot").mkdir()
    return file


def export(inventory: Path, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    given = json.dumps({"export": str(inventory.parent / "out"), **variables})
    return play(CHECKOUT / "playbooks/monitoring.yml", inventory, "--extra-vars", given, *arguments)


def with_key(inventory: Path) -> None:
    (inventory.parent / ".slm-copilot/api-keys").write_bytes(render_key_file({"monitor@fleet": KEY}))


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        pytest.param({}, "has no key for monitors yet. Set copilot_monitoring to true", id="no key"),
        pytest.param({"export": ""}, 'monitoring_dir is \\"\\". Give the absolute path of a folder', id="no folder"),
        pytest.param({"export": "out"}, 'monitoring_dir is \\"out\\". Give the absolute path', id="a folder somewhere"),
        pytest.param({"monitoring_interval": 0}, "give seconds, 1 or more", id="no interval"),
    ],
)
def test_nothing_is_written_of_what_would_not_work(inventory: Path, variables: dict[str, Any], reason: str) -> None:
    if variables:
        with_key(inventory)
    done = export(inventory, **variables)
    assert done.returncode != 0
    assert reason in done.stdout
    assert not (inventory.parent / "out").exists()


class Prometheus:
    """Debian's, with what was written."""

    def __init__(self, config: Path, data: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/v1"
        self.page = f"http://127.0.0.1:{port}/consoles/fleet.html"
        options = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
        # The page, as Ansible writes it for a monitor.
        consoles = data.parent / "consoles"
        consoles.mkdir()
        template = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False).from_string(
            PAGE.read_text()
        )
        (consoles / "fleet.html").write_text(template.render())
        options += [f"--web.console.templates={consoles}", f"--web.console.libraries={consoles}"]
        with (data.parent / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen([prometheus() / "prometheus", *options], stdout=log, stderr=log)

    def ask(self, what: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/{what}?{urllib.parse.urlencode(parameters)}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def looked_at(self) -> dict[str, str]:
        """Returns what the page for people shows, by what it is of."""
        with urllib.request.urlopen(self.page, timeout=20) as answer:
            text = answer.read().decode()
        shown = dict(re.findall(r'<b id="(\w+)">([^<]*)</b>', text))
        hosts = re.findall(r"<tr><td>([^<]+)</td><td[^>]*>(\w+)</td>", text)
        return {**shown, **{f"host {name}": state for name, state in hosts}, "bars": str(text.count("the last hour: "))}

    def value(self, expr: str) -> float | None:
        """The one value of an expression; None: it has none."""
        found = self.ask("query", query=expr)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None


@pytest.fixture
def seen(inventory: Path, gateway: Gateway, service: Service, tmp_path: Path) -> Iterator[Prometheus]:
    """Debian's Prometheus with nothing but what the playbook wrote."""
    with_key(inventory)
    variables = {"copilot_port": gateway.port, "copilot_clients_ca_path": str(gateway.ca[0]), "monitoring_interval": 1}
    done = export(inventory, **variables)
    assert done.returncode == 0, done.stdout
    assert KEY not in done.stdout
    assert "changed=0" in export(inventory, "--check", **variables).stdout
    out = tmp_path / "out"
    assert (out / "monitor-key").stat().st_mode & 0o777 == 0o600
    command = [prometheus() / "promtool", "check", "config", out / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    started = Prometheus(out / "prometheus.yml", tmp_path / "data")
    yield started
    started.process.kill()
    started.process.wait()


def expressions(dashboard: Path) -> dict[str, str]:
    """Title and legend of all that a dashboard shows -> its expression, with all hosts chosen."""
    return {
        f"{panel['title']} {target['legendFormat']}": target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
        for panel in json.loads(dashboard.read_text())["panels"]
        for target in panel["targets"]
    }


def test_a_real_prometheus_sees_what_was_asked(
    seen: Prometheus, gateway: Gateway, router: Router, service: Service, tmp_path: Path
) -> None:
    wait_for("Prometheus has looked", lambda: seen.value('sum(up{job=~"copilot-.+"})') == 4)
    answered = 'sum(copilot_balancer_requests_total{instance="paris-1",model="tiny",outcome="answered"})'
    before = seen.value(answered)
    assert before is not None
    alice, nobody = gateway.developer(), replace(gateway.developer(), key=None)
    for _request in range(5):
        assert alice.ask(4).rest().status == 200
    assert nobody.models().status == 401
    wait_for("it has counted", lambda: seen.value(answered) == before + 5)
    wait_for(
        "it has counted the refusal, too",
        lambda: seen.value('haproxy_backend_http_responses_total{proxy="unauthorized",code="4xx"}') == 1,
    )
    end = seen.value("copilot_server_certificate_end_timestamp_seconds")
    assert end is not None
    assert 0 < end - time.time() < 2 * 86400 + 1, "the test's certificate is good for two days"
    duration = seen.value("max(scrape_duration_seconds)")
    assert duration is not None
    assert duration < 1

    # What a server says that the page shows to people; a balancer alone was asked until now.
    counted = {"answered": 'sum(copilot_server_requests_total{outcome="answered"})', "generated": GENERATED}
    generated = seen.value(GENERATED)
    assert generated is not None
    assert router.developer.chat(7, stream=True).status == 200
    wait_for("the server's tokens are counted", lambda: seen.value(GENERATED) == generated + 7)
    page = seen.looked_at()
    assert {name: float(page[name]) for name in counted} == {name: seen.value(expr) for name, expr in counted.items()}
    assert (page["host paris-1"], page["running"], page["waiting"]) == ("up", "0 / 2", "0")

    dashboards = sorted((tmp_path / "out/dashboards").glob("*.json"))
    shown = {f"{file.stem}: {title}": expr for file in dashboards for title, expr in expressions(file).items()}
    assert len(shown) > 40

    def empty() -> list[str]:
        router.developer.chat(4, stream=True)
        assert alice.ask(4).rest().status == 200
        return [title for title, expr in shown.items() if seen.value(f"({expr}) == ({expr})") is None]  # NaN equals nothing

    try:
        wait_for("", lambda: not empty(), every=1)
    except AssertionError:
        assert empty() == []
    rules = [rule for group in seen.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    known = set(seen.ask("label/__name__/values"))
    used = {name for rule in rules for name in NAME.findall(rule["query"])}
    assert used - known == {"copilot_server_oom_kills_total", "copilot_host_tuned_tokens_per_second"}, "which are not here"
    assert not [rule["name"] for rule in rules if rule.get("state") == "firing"]
