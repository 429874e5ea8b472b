# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An alert arrives at a webhook by Debian's Prometheus and Alertmanager, and so does its end."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
from pathlib import Path

import jinja2
import yaml
from metrics_rig import prometheus
from rig import CHECKOUT, free_port, wait_for

ROLE = CHECKOUT / "roles/monitoring"
ARRIVED: list[tuple[str, str, str]] = []
HOST_IS_THERE = threading.Event()


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes alerts, and gives the metrics of a host that is there or not."""

    def do_POST(self) -> None:
        for one in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            ARRIVED.append((one["labels"]["alertname"], one["labels"]["instance"], one["status"]))
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200 if HOST_IS_THERE.is_set() else 503)
        self.end_headers()

    def log_message(self, *_said: object) -> None:
        pass


def test_an_alert_arrives_and_so_does_its_end(tmp_path: Path) -> None:
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    template = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    template.filters["to_json"] = json.dumps
    route = template.from_string((ROLE / "templates/alertmanager.yml.j2").read_text()).render(
        monitoring_webhooks=[f"http://127.0.0.1:{hook.server_port}/"],
        monitoring_mail_to=["ops@example.com"],
        monitoring_mail_from="copilot@example.com",
        monitoring_smtp_server="127.0.0.1:1",
        ansible_managed="",
    )
    # Durations are those of the rules, but for minutes, which are seconds here.
    (tmp_path / "alertmanager.yml").write_text(re.sub(r"(group_\w+): \w+", r"\1: 1s", route))
    rules = (ROLE / "files/slm-copilot.rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(re.sub(r"for: (\d+)m", r"for: \1s", rules))
    ports = {name: free_port() for name in ("prometheus", "alertmanager")}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}]},
        "scrape_configs": [
            {
                "job_name": "copilot-gateway",
                "static_configs": [{"targets": [f"127.0.0.1:{hook.server_port}"], "labels": {"instance": "paris-1"}}],
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    programs = prometheus()
    # Debian's Alertmanager looks for its templates in /usr/share, and is not installed here.
    at_home = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"']
    at_home.append(str(programs.parent / "share"))
    started = [
        subprocess.Popen(
            [
                *at_home,
                programs / program,
                f"--config.file={tmp_path / file}",
                f"--web.listen-address=127.0.0.1:{port}",
                *options,
            ],
            stderr=(tmp_path / f"{program}.log").open("wb"),
        )
        for program, file, port, options in (
            ("prometheus", "prometheus.yml", ports["prometheus"], [f"--storage.tsdb.path={tmp_path / 'data'}"]),
            (
                "prometheus-alertmanager",
                "alertmanager.yml",
                ports["alertmanager"],
                [f"--storage.path={tmp_path / 'am'}", "--cluster.listen-address="],
            ),
        )
    ]
    try:
        wait_for("the host that is away is told", lambda: ("CopilotHostAway", "paris-1", "firing") in ARRIVED)
        HOST_IS_THERE.set()
        wait_for("its return is told", lambda: ("CopilotHostAway", "paris-1", "resolved") in ARRIVED)
        assert [status for _name, _host, status in ARRIVED][-1] == "resolved"
        assert {(name, host) for name, host, _status in ARRIVED} == {("CopilotHostAway", "paris-1")}
    finally:
        for one in started:
            one.kill()
            one.wait()
        hook.shutdown()
        hook.server_close()
