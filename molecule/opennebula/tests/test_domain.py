# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A domain in the context gets a certificate of an ACME server: pebble, on the machine that the tests run on."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import FOLDERS
from developers import eventually

HERE = "10.89.88.1"
DOMAIN = "copilot.example.com"
ON_THE_VM = "/etc/slm-copilot/appliance/company-ca.pem"


@pytest.fixture
def acme(first, tmp_path: Path) -> Iterator[Path]:
    """An ACME server, for which the domain leads to the first VM, and which that VM knows. Gives the CAs of the server."""
    key, chain, bundle = (tmp_path / name for name in ("acme.key", "acme.pem", "bundle.pem"))
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    request += ["-subj", "/CN=acme", "-addext", f"subjectAltName=IP:{HERE}", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(request, check=True, capture_output=True)
    ports = {"listenAddress": f"{HERE}:14000", "managementListenAddress": f"{HERE}:15000", "httpPort": 80, "tlsPort": 443}
    files = {"certificate": str(chain), "privateKey": str(key), "ocspResponderURL": "", "certificateValidityPeriod": 7776000}
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": ports | files}))
    names = ["pebble-challtestsrv", "-dns01", "127.0.0.1:8053", "-management", "127.0.0.1:8055"]
    for other in ("-defaultIPv4", "-defaultIPv6", "-http01", "-https01", "-tlsalpn01"):
        names += [other, ""]
    server = ["pebble", "-config", str(tmp_path / "pebble.json"), "-dnsserver", "127.0.0.1:8053"]
    settings = FOLDERS / "group_vars/all.yml"
    before = settings.read_text()

    def answers(url: str, body: bytes | None = None) -> bytes:
        with suppress(OSError):
            context = ssl.create_default_context(cafile=str(chain)) if url.startswith("https") else None
            return bytes(urllib.request.urlopen(url, body, 10, context=context).read() or b"nothing")
        return b""

    with (tmp_path / "log").open("wb") as log:
        running = [
            subprocess.Popen(command, env={"PEBBLE_VA_NOSLEEP": "1", "PATH": "/usr/bin"}, stdout=log, stderr=log)
            for command in (names, server)
        ]
        try:
            lead = json.dumps({"host": DOMAIN, "addresses": [first.address]}).encode()
            eventually(lambda: answers("http://127.0.0.1:8055/add-a", lead), "the name server answers")
            eventually(lambda: answers(f"https://{HERE}:15000/roots/0"), "the ACME server answers")
            bundle.write_bytes(chain.read_bytes() + b"\n" + answers(f"https://{HERE}:15000/roots/0"))
            subprocess.run(["podman", "cp", str(bundle), f"opennebula-first:{ON_THE_VM}"], check=True)
            settings.write_text(
                f"{before}tls_acme_directory: https://{HERE}:14000/dir\ntls_acme_email: ops@example.com\n"
                f"tls_acme_ca_bundle: {ON_THE_VM}\n"
            )
            yield bundle
        finally:
            settings.write_text(before)
            for one in running:
                one.kill()
                one.wait()
            print((tmp_path / "log").read_text()[-4000:])


def test_a_domain_gets_its_certificate_at_boot(first, acme, tmp_path):
    first.set(ONEAPP_COPILOT_TLS_DOMAIN=DOMAIN)
    assert first.apply() == 0, first.read("/etc/motd")
    assert json.loads(first.read("/etc/slm-copilot/report.json"))["endpoint"] == f"https://{DOMAIN}:8443/v1"
    context = ssl.create_default_context(cafile=str(acme))
    with socket.create_connection((first.address, 8443), 10) as raw, context.wrap_socket(raw, server_hostname=DOMAIN) as tls:
        issuer = dict(part[0] for part in tls.getpeercert()["issuer"])
    assert issuer["commonName"].startswith("Pebble Intermediate CA")
    assert first.developer(tmp_path).chat().status == 200  # by the address, verified with the VM's own CA
    first.set()
    assert first.apply() == 0, first.read("/etc/motd")
    assert json.loads(first.read("/etc/slm-copilot/report.json"))["endpoint"] == f"https://{first.address}:8443/v1"
