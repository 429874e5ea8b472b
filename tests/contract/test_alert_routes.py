# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An alert arrives at a webhook and in a mailbox by Debian's Prometheus and Alertmanager, and so does its end."""

from __future__ import annotations

import email
import email.message
import email.policy
import http.server
import json
import os
import re
import ssl
import subprocess
import threading
from pathlib import Path

import jinja2
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from metrics_rig import prometheus
from rig import CHECKOUT, certificate, free_port, wait_for

ROLE = CHECKOUT / "roles/monitoring"
ARRIVED: list[tuple[str, str, str]] = []
NAME, PASSWORD = "copilot@example.com", "the-password-of-the-mail-account"
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


class Mailbox(Controller):
    """A mail server that takes mail over TLS, of whoever has the password."""

    def __init__(self, work: Path) -> None:
        chain, key = certificate(work, "mail")
        self.ca, self.mails = chain, list[tuple[list[str], email.message.EmailMessage]]()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, key)
        super().__init__(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            auth_exclude_mechanism=["LOGIN"],  # its prompts are not those that Go knows
            authenticator=self.authenticate,
        )

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == (NAME.encode(), PASSWORD.encode())
        return AuthResult(success=known)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, email.message.EmailMessage)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 OK"

    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for _to, mail in self.mails]


def test_an_alert_arrives_and_so_does_its_end(tmp_path: Path) -> None:
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    mailbox = Mailbox(tmp_path)
    mailbox.start()
    template = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    template.filters["to_json"] = json.dumps
    route = template.from_string((ROLE / "templates/alertmanager.yml.j2").read_text()).render(
        monitoring_webhooks=[f"http://127.0.0.1:{hook.server_port}/"],
        monitoring_mail_to=["ops@example.com"],
        monitoring_mail_from="copilot@example.com",
        monitoring_smtp_server=f"127.0.0.1:{mailbox.port}",
        monitoring_smtp_user=NAME,
        monitoring_smtp_password=PASSWORD,
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
            env=os.environ | {"SSL_CERT_FILE": str(mailbox.ca)},
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
        wait_for("so does a mail", lambda: "[firing] CopilotHostAway paris-1" in mailbox.subjects())
        HOST_IS_THERE.set()
        wait_for("its return is told", lambda: ("CopilotHostAway", "paris-1", "resolved") in ARRIVED)
        wait_for("and in a mail", lambda: "[resolved] CopilotHostAway paris-1" in mailbox.subjects())
        to, mail = mailbox.mails[0]
        assert (to, mail["From"], mail["To"]) == (["ops@example.com"], "copilot@example.com", "ops@example.com")
        words = mail.get_body(("plain",))
        assert words is not None
        assert "No metrics from paris-1 (copilot-gateway)" in words.get_content()
        assert "systemctl status" in words.get_content(), "what to do"
        assert PASSWORD not in (tmp_path / "prometheus-alertmanager.log").read_text()
        assert [status for _name, _host, status in ARRIVED][-1] == "resolved"
        assert {(name, host) for name, host, _status in ARRIVED} == {("CopilotHostAway", "paris-1")}
    finally:
        for one in started:
            one.kill()
            one.wait()
        mailbox.stop()
        hook.shutdown()
        hook.server_close()
