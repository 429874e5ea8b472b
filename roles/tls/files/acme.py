# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings the certificate that certbot keeps to what serves it. The play runs it, and certbot after each renewal.

`status` says whether certbot has to be asked, and why. `deploy` installs certbot's certificate if it does, else keeps the
one of the ACME server that is served, else installs the one of the fleet's CA. `hook` is `deploy`, and then HAProxy reloads.

A certificate is judged as a client would: by a handshake, in memory.
"""

from __future__ import annotations

import argparse
import configparser
import grp
import json
import os
import re
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# What certbot remembers of a certificate, and renews it with.
REMEMBERED = {"server": "server", "http01_port": "port", "http01_address": "address", "renew_hook": "hook"}
NOT_VERIFIED = {9: "it is not valid yet", 10: "it has ended", 62: "it is not for {name}"}
OVERDUE = 20 * 86400  # certbot renews 30 days before the end


@dataclass
class Verdict:
    """What a client would say to a certificate and its key."""

    problem: str = ""
    asking_helps: bool = True  # a new certificate from the same place would be better
    start: float = 0
    end: float = 0


@dataclass
class Trust:
    """What certificates are verified by: CAs in files, besides the system's, or each chain's own last certificate."""

    files: list[str]
    system: bool = True
    own_chain: bool = False

    def context(self, chain: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.system:
            context.load_default_certs()
        for file in self.files:
            context.load_verify_locations(file)
        found = CERTIFICATE.findall(chain)
        if self.own_chain and len(found) > 1:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(cadata=found[-1])
        return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, Any]:
    """Returns the certificate that the client accepted."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _round in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
            else:
                if not end.server_side:
                    return end.getpeercert() or {}
    raise ssl.SSLError("the handshake does not end")


def judge(certificate: Path, key: Path, names: list[str], trust: Trust) -> Verdict:
    """Says whether a client that wants one of the names accepts the certificate, with its chain and key."""
    if not certificate.exists() or not key.exists():
        return Verdict("there is none")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        return Verdict(f"certificate and key cannot be used together ({error})")
    verdict = Verdict()
    for name in names:
        try:
            shown = shake_hands(server, trust.context(certificate.read_text()), name)
        except ssl.SSLCertVerificationError as error:
            reason = NOT_VERIFIED.get(error.verify_code, f"it cannot be verified: {error.verify_message}")
            return Verdict(reason.format(name=name), asking_helps=error.verify_code in NOT_VERIFIED)
        except ssl.SSLError as error:
            return Verdict(f"no handshake is possible with it ({error})")
        verdict.start = ssl.cert_time_to_seconds(shown["notBefore"])
        verdict.end = ssl.cert_time_to_seconds(shown["notAfter"])
    return verdict


class Host:
    """The certificates of this host, as acme.json describes them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.names: list[str] = settings["names"]
        self.trust = Trust(settings["ca_files"], own_chain=settings["staging"])
        self.live = (Path(settings["live"]) / "fullchain.pem", Path(settings["live"]) / "privkey.pem")
        self.served = (Path(settings["certificate"]), Path(settings["key"]))
        self.fallback = (Path(settings["fallback_certificate"]), Path(settings["fallback_key"]))

    def changed_settings(self) -> list[str]:
        """What certbot would renew otherwise than the settings say."""
        renewal = Path(self.settings["renewal"])
        if not renewal.exists():
            return list(REMEMBERED)
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string("[top]\n" + renewal.read_text().replace("[[", "[").replace("]]", "]"))
        remembered = parser["renewalparams"]
        return [
            option for option, name in REMEMBERED.items() if remembered.get(option, "") != str(self.settings["certbot"][name])
        ]

    def status(self) -> dict[str, Any]:
        """Says why certbot has to be asked for a certificate, if it has to."""
        verdict = judge(*self.live, self.names, self.trust)
        now = time.time()
        if verdict.problem:
            reason = verdict.problem if verdict.asking_helps else ""
        elif verdict.end - now < min(OVERDUE, (verdict.end - verdict.start) / 5):
            reason = f"it ends on {time.strftime('%Y-%m-%d', time.gmtime(verdict.end))}, and the renewals failed"
        else:
            changed = self.changed_settings()
            reason = f"its settings changed ({', '.join(changed)})" if changed else ""
        return {"reason": reason, "problem": verdict.problem, "end": verdict.end}

    def deploy(self) -> dict[str, Any]:
        """Sees to it that the best certificate there is will be served."""
        domain = self.names[:1]  # one that lacks a further name still does for most
        live = judge(*self.live, domain, self.trust)
        if not live.problem:
            return {"changed": self._install(self.live), "serves": "acme", "problem": ""}
        if not judge(*self.served, domain, self.trust).problem:
            return {"changed": False, "serves": "acme", "problem": live.problem}
        return {"changed": self._install(self.fallback), "serves": "fleet_ca", "problem": live.problem}

    def _install(self, pair: tuple[Path, Path]) -> bool:
        if all(there.exists() and there.read_bytes() == source.read_bytes() for source, there in zip(pair, self.served)):
            return False
        group = grp.getgrnam(self.settings["group"]).gr_gid
        new = []
        for source, there in zip(pair, self.served):
            new.append(there.with_name(there.name + ".new"))
            new[-1].unlink(missing_ok=True)
            with open(os.open(new[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(source.read_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.chown(new[-1], -1, group)
            new[-1].chmod(0o640)
        for temporary, there in reversed(list(zip(new, self.served))):  # the key first: its certificate is what is looked at
            temporary.replace(there)
        return True

    def serve(self) -> None:
        """Tells what serves the certificate that there is a new one."""
        for unit in self.settings["reload"]:
            if state(unit) == "activating":
                # It may have read the one before, and systemd drops the reload of what is starting. This waits for the end.
                subprocess.run(["systemctl", "start", unit], check=False)
            if state(unit) in ("active", "reloading"):
                subprocess.run(["systemctl", "reload", unit], check=True)


def state(unit: str) -> str:
    """Returns what systemd says of a unit: active, reloading, inactive, failed, activating or deactivating."""
    command = ["systemctl", "show", "--property=ActiveState", "--value", unit]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("command", choices=["status", "deploy", "hook"])
    options = parser.parse_args()
    if options.command == "hook" and (os.environ.get("SLM_COPILOT_PLAY") or not options.config.exists()):
        return 0  # the play goes on with it itself; or certificates of an ACME server are no longer asked for
    host = Host(json.loads(options.config.read_text()))
    if options.command == "status":
        print(json.dumps(host.status()))
        return 0
    said = host.deploy()
    print(json.dumps(said))
    if options.command == "hook" and said["changed"]:
        host.serve()
    return 1 if options.command == "hook" and said["problem"] else 0


if __name__ == "__main__":
    sys.exit(main())
