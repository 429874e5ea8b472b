# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A company's own ACME server (pebble, with the name server of its test tools), and certbot as the role sets it up."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway_rig import AS_ROOT, play
from rig import CHECKOUT, PATIENCE, certificate, free_port, wait_for

ACCOUNT = "kid-1"


class AcmeServer:
    """Wants accounts that it knows (external account binding), and looks at domains on one port of this machine."""

    def __init__(self, work: Path, http_port: int) -> None:
        self.work = work
        self.secret = secrets.token_urlsafe(32)
        self.port, self._management, self._dns, self._names = (free_port() for _one in range(4))
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        chain, key = certificate(work, "acme")
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(chain),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": True,
            "externalAccountMACKeys": {ACCOUNT: self.secret},
            "certificateValidityPeriod": 7776000,
        }
        (work / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self._own_ca = chain
        self.bundle = work / "bundle.pem"  # its own CA, and the one that it signs with
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        names = f"-dns01 127.0.0.1:{self._dns} -management 127.0.0.1:{self._names}".split()
        for other in ("-defaultIPv4", "-defaultIPv6", "-http01", "-https01", "-tlsalpn01"):
            names += [other, ""]
        self._run("pebble-challtestsrv", *names)
        self._run("pebble", "-config", str(self.work / "pebble.json"), "-dnsserver", f"127.0.0.1:{self._dns}")
        root = wait_for("the ACME server answers", self._root)
        self.bundle.write_bytes(self._own_ca.read_bytes() + b"\n" + root)

    def _run(self, *command: str) -> None:
        quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        with (self.work / f"{command[0]}.log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, env={**os.environ, **quick}, stdout=log, stderr=log))

    def _root(self) -> bytes:
        context = ssl.create_default_context(cafile=str(self._own_ca))
        with suppress(OSError):
            url = f"https://127.0.0.1:{self._management}/roots/0"
            return bytes(urllib.request.urlopen(url, timeout=PATIENCE, context=context).read())
        return b""

    def lead(self, domain: str) -> None:
        """Has a domain lead to this machine."""
        body = json.dumps({"host": domain, "addresses": ["127.0.0.1"]}).encode()

        def told() -> bool:
            with suppress(OSError):
                return bool(urllib.request.urlopen(f"http://127.0.0.1:{self._names}/add-a", body, PATIENCE).status == 200)
            return False

        wait_for("the name server answers", told)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(PATIENCE)
        self.processes.clear()


class Certbot:
    """certbot, and our script that it runs after each renewal, with what the role writes for both. systemd is a stand-in: its
    reload sends the signal that the unit would."""

    def __init__(self, work: Path, acme: AcmeServer, domain: str, serving: Path, fallback: tuple[Path, Path], port: int) -> None:
        self.work, self.domain = work, domain
        self._ca = acme.bundle
        self.lineage = work / "certbot/live/slm-copilot"
        self.renewal = work / "certbot/renewal/slm-copilot.conf"
        self.script, self.config = work / "acme.py", work / "acme.json"
        variables = {
            "ansible_python_interpreter": sys.executable,
            "copilot_fleet_dir": str(work / "fleet"),
            "copilot_install_dir": str(work),
            "copilot_config_dir": str(work),
            "tls_group": "root",
            "copilot_tls_domain": domain,
            "copilot_acme_port": port,
            "tls_acme_directory": acme.directory,
            "tls_acme_email": "ops@example.com",
            "tls_acme_ca_bundle": str(acme.bundle),
            "tls_acme_eab_key_id": ACCOUNT,
            "tls_acme_eab_hmac_key": acme.secret,
            "tls_certificate_path": str(serving / "server.pem"),
            "tls_key_path": str(serving / "server-key.pem"),
            "tls_fallback_certificate_path": str(fallback[0]),
            "tls_fallback_key_path": str(fallback[1]),
        }
        (work / "hosts.json").write_text(json.dumps({"all": {"hosts": {domain: variables}}}))
        certbot_dir = json.dumps({"__tls_acme_certbot_dir": str(work / "certbot")})
        done = play(CHECKOUT / "tests/contract/acme.yml", work / "hosts.json", "--extra-vars", certbot_dir)
        assert done.returncode == 0, done.stdout[-3000:]
        systemctl = work / "bin/systemctl"
        systemctl.parent.mkdir()
        systemctl.write_text(
            '#!/bin/sh\n[ "$1" != show ] || echo active\n'
            f'[ "$1" != reload ] || {{ echo "$2" >> {work}/reloaded; kill -USR2 "$(cat {work}/pid)"; }}\n'
        )
        systemctl.chmod(0o755)

    @property
    def reloaded(self) -> int:
        """How often what serves the certificate was told of a new one."""
        file = self.work / "reloaded"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def certbot(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        folders = (("config", "certbot"), ("work", "certbot-work"), ("logs", "certbot-logs"))
        where = [part for name, folder in folders for part in (f"--{name}-dir", str(self.work / folder))]
        return self._run("certbot", *arguments, *where, REQUESTS_CA_BUNDLE=str(self._ca), **environment)

    def ask(self) -> subprocess.CompletedProcess[str]:
        """Asks for a certificate, as the role does."""
        return self.certbot("certonly", "--config", str(self.work / "acme.ini"), SLM_COPILOT_PLAY="1")

    def renew(self) -> subprocess.CompletedProcess[str]:
        """Renews it as the timer would at the end of its time."""
        text = self.renewal.read_text()
        if "renew_before_expiry = 3650 days" not in text:
            self.renewal.write_text(
                "renew_before_expiry = 3650 days\n" + text.replace("\nrenew_before_expiry", "\n# renew_before_expiry")
            )
        return self.certbot("renew", "--quiet", "--no-random-sleep-on-renew")

    def ours(self, command: str) -> dict[str, Any]:
        done = self._run("/usr/bin/python3", "-I", str(self.script), "--config", str(self.config), command)
        assert done.returncode == 0, done.stdout
        return dict(json.loads(done.stdout))

    def hook(self) -> subprocess.CompletedProcess[str]:
        """What certbot runs after a renewal, as it remembers it."""
        [line] = [line for line in self.renewal.read_text().splitlines() if line.startswith("renew_hook = ")]
        return self._run(*line.removeprefix("renew_hook = ").split())

    def _run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.work}/bin:{os.environ['PATH']}"
        return subprocess.run(
            [*AS_ROOT, *command],
            env={"PATH": path, "HOME": str(self.work), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
