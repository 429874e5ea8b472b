# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of a real ACME server, asked for by the real certbot and served by the real HAProxy. Tests run in order."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acme_rig import AcmeServer, Certbot
from ansible_collections.slm.copilot.plugins.module_utils._access.certificates import acme_failure
from gateway_rig import Gateway
from rig import Llama, certificate, free_port, wait_for

DOMAIN = "copilot.example.com"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acme")


@pytest.fixture(scope="module")
def http_port() -> int:
    """In place of port 80."""
    return free_port()


@pytest.fixture(scope="module")
def acme(work: Path, http_port: int) -> Iterator[AcmeServer]:
    server = AcmeServer(work, http_port)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def fallback(work: Path, fleet_ca: tuple[Path, Path]) -> tuple[Path, Path]:
    return certificate(work, "fallback", fleet_ca)


@pytest.fixture(scope="module")
def challenge_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def site(
    work: Path,
    http_port: int,
    challenge_port: int,
    upstream: Llama,
    fleet_ca: tuple[Path, Path],
    fallback: tuple[Path, Path],
) -> Iterator[Gateway]:
    gateway = Gateway(
        work,
        fleet_ca,
        gateway_upstream=f"127.0.0.1:{upstream.port}",
        gateway_acme_port=http_port,
        gateway_acme_upstream=f"127.0.0.1:{challenge_port}",
        gateway_tls_fallback_certificate=str(fallback[0]),
        gateway_tls_fallback_key=str(fallback[1]),
    )
    gateway.start()
    assert gateway.process is not None
    (work / "pid").write_text(str(gateway.process.pid))
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(site: Gateway) -> Gateway:
    return site


@pytest.fixture(scope="module")
def certbot(work: Path, acme: AcmeServer, site: Gateway, fallback: tuple[Path, Path], challenge_port: int) -> Certbot:
    return Certbot(work, acme, DOMAIN, site.folder, fallback, challenge_port)


def shown(gateway: Gateway, ca: Path, name: str = DOMAIN) -> dict[str, object]:
    """The certificate that a client accepts which trusts this CA alone."""
    context = ssl.create_default_context(cafile=str(ca))
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    with context.wrap_socket(plain, server_hostname=name) as secure:
        certificate = secure.getpeercert()
    assert certificate
    return certificate


def test_a_domain_that_leads_nowhere_falls_back(certbot: Certbot, gateway: Gateway) -> None:
    assert certbot.ours("status")["reason"] == "there is none"
    done = certbot.ask()
    assert done.returncode != 0
    assert "could not resolve" in acme_failure(done.stdout)
    assert certbot.ours("deploy") == {"changed": True, "serves": "fleet_ca", "problem": "there is none"}
    gateway.reload()
    assert ("IP Address", "127.0.0.1") in shown(gateway, gateway.ca[0], "127.0.0.1")["subjectAltName"]


def test_a_certificate_is_issued_and_served_with_its_chain(certbot: Certbot, acme: AcmeServer, gateway: Gateway) -> None:
    acme.lead(DOMAIN)
    done = certbot.ask()
    assert done.returncode == 0, done.stdout
    assert certbot.reloaded == 0, "the play goes on with it itself"
    assert certbot.ours("deploy") == {"changed": True, "serves": "acme", "problem": ""}
    gateway.reload()
    assert shown(gateway, acme.bundle)["subjectAltName"] == (("DNS", DOMAIN),)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(gateway, gateway.ca[0])


def test_a_second_run_asks_for_nothing(certbot: Certbot) -> None:
    assert certbot.ours("status")["reason"] == ""
    assert not certbot.ours("deploy")["changed"]


def test_by_another_name_there_is_the_fleets_certificate(gateway: Gateway) -> None:
    """So that balancers, which connect by address, need not know of the domain."""
    assert ("IP Address", "127.0.0.1") in shown(gateway, gateway.ca[0], "127.0.0.1")["subjectAltName"]


def test_the_account_has_the_mail(certbot: Certbot, acme: AcmeServer) -> None:
    assert "ops@example.com" in certbot.certbot("show_account", "--server", acme.directory).stdout


def test_the_accounts_key_is_in_one_file(certbot: Certbot, acme: AcmeServer, work: Path) -> None:
    found = subprocess.run(
        [
            "grep",
            "--recursive",
            "--files-with-matches",
            "--regexp",
            acme.secret,
            work / "certbot",
            work / "certbot-logs",
            work / "acme.ini",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    ).stdout.split()
    assert found == [str(work / "acme.ini")]
    assert (work / "acme.ini").stat().st_mode & 0o777 == 0o600


def test_a_renewal_cuts_no_stream(certbot: Certbot, acme: AcmeServer, gateway: Gateway) -> None:
    before, pid = shown(gateway, acme.bundle)["serialNumber"], gateway.process and gateway.process.pid
    stream = gateway.developer().ask(3000)
    stream.first()
    done = certbot.renew()
    assert done.returncode == 0, done.stdout
    assert certbot.reloaded == 1
    wait_for("the new certificate is shown", lambda: shown(gateway, acme.bundle)["serialNumber"] != before)
    answer = stream.rest()
    assert answer.events[-1] == "[DONE]"
    assert len(answer.events) > 2900
    assert gateway.process and gateway.process.pid == pid and gateway.process.poll() is None, "reloaded, not restarted"


def test_a_broken_pair_is_not_installed(certbot: Certbot, acme: AcmeServer, gateway: Gateway) -> None:
    """What certbot hands over is looked at before it is served."""
    before, reloaded = shown(gateway, acme.bundle)["serialNumber"], certbot.reloaded
    key = certbot.lineage / "privkey.pem"
    kept = key.read_bytes()
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], check=True)
    try:
        done = certbot.hook()
        assert done.returncode != 0
        assert "cannot be used together" in done.stdout
        assert certbot.reloaded == reloaded
        gateway.reload()
        assert shown(gateway, acme.bundle)["serialNumber"] == before
    finally:
        key.write_bytes(kept)
    assert certbot.hook().returncode == 0


def test_port_80_is_for_the_acme_server(site: Gateway, http_port: int) -> None:
    for path, status in (("/", 404), ("/v1/models", 404), ("/.well-known/acme-challenge/none", 503)):
        connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=10)
        connection.request("GET", path)
        assert connection.getresponse().status == status, path


def test_without_the_acme_server_a_valid_certificate_is_kept(certbot: Certbot, acme: AcmeServer, gateway: Gateway) -> None:
    before = shown(gateway, acme.bundle)["serialNumber"]
    acme.stop()  # for good: it forgets its CA
    assert certbot.renew().returncode != 0
    assert certbot.ours("deploy") == {"changed": False, "serves": "acme", "problem": ""}
    gateway.reload()
    assert shown(gateway, acme.bundle)["serialNumber"] == before


def test_what_certbot_renews_later_is_not_served(certbot: Certbot, gateway: Gateway) -> None:
    """Where a certificate of an ACME server is no longer asked for."""
    kept = certbot.config.rename(certbot.config.with_suffix(".kept"))
    (gateway.folder / "server.pem").write_bytes(gateway.ca[0].read_bytes())  # of another mode
    before = (gateway.folder / "server.pem").read_bytes()
    done = certbot.hook()
    assert done.returncode == 0, done.stdout
    assert (gateway.folder / "server.pem").read_bytes() == before
    kept.rename(certbot.config)


def test_without_the_acme_server_a_new_host_falls_back(certbot: Certbot, gateway: Gateway) -> None:
    assert certbot.certbot("delete", "--non-interactive", "--cert-name", "slm-copilot").returncode == 0
    for file in ("server.pem", "server-key.pem"):
        (gateway.folder / file).unlink()
    done = certbot.ask()
    assert done.returncode != 0
    assert "Connection refused" in acme_failure(done.stdout)
    assert certbot.ours("deploy") == {"changed": True, "serves": "fleet_ca", "problem": "there is none"}
    gateway.reload()
    assert ("IP Address", "127.0.0.1") in shown(gateway, gateway.ca[0], "127.0.0.1")["subjectAltName"]
