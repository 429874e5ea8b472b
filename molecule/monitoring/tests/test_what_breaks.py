# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What breaks is told by an alert that arrives at a webhook, is seen on the page, and ends when it is mended.

All of it breaks at the same time, each thing on its host. Minutes of the rules are seconds here; promtool holds the true ones.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import CONFIG, Monitor, Page
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from developers import Client, Crowd, eventually
from people import FLEET
from testinfra.host import Host

FASTER = 30  # so that each range of the rules has some looks, which are 2 seconds apart
UNITS = {"m": 60, "h": 3600, "d": 86400}
WEBHOOK = ("10.89.86.1", 9099)  # the inventory's
HUNGRY = "python3 -c 'x = bytearray(200 << 20)'"
LOOK_SECONDS = 2  # between two polls, as the inventory has it
# Alert, host, and what of it breaks.
BREAKS = [
    pytest.param("CopilotEngineAway", "paris-1", id="engine killed"),
    pytest.param("CopilotQueueLong", "madrid-1", id="slots full"),
    pytest.param("CopilotCertificateEnds", "berlin-1", id="certificate near its end"),
    pytest.param("CopilotOutOfMemory", "madrid-1", id="out of memory"),
    pytest.param("CopilotDiskNearlyFull", "madrid-1", id="disk full"),
    pytest.param("CopilotHostAway", "berlin-1", id="exporter gone"),
    pytest.param("CopilotEnginesDiffer", "", id="versions that differ"),
]

Told = set[tuple[str, str, str]]


def faster(text: str) -> str:
    """Divides all durations of rules and routes."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * UNITS.get(found[3], 1) // FASTER
        return f"{found[1]}{max(1, seconds)}s{found[4]}"

    return re.sub(r"(\[|for: |offset |group_\w+: )(\d+)([smhd])(\]|\b)", shorter, text)


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """What arrived at the webhook: alert, host, and whether it fires or is resolved."""
    arrived: Told = set()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for one in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
                arrived.add((one["labels"]["alertname"], one["labels"].get("instance", ""), one["status"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            pass

    server = ThreadingHTTPServer(WEBHOOK, Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield arrived
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def quick(monitor: Monitor) -> Iterator[None]:
    """The monitor, with minutes that are seconds."""
    files = {
        f"{CONFIG}/{name}": monitor.host.file(f"{CONFIG}/{name}").content_string
        for name in ("slm-copilot.rules.yml", "alertmanager.yml")
    }

    def write(of: dict[str, str]) -> None:
        for path, text in of.items():
            monitor.write(path, text)
        monitor.host.check_output("systemctl kill --signal=HUP slm-copilot-prometheus slm-copilot-alertmanager")

    write({path: faster(text) for path, text in files.items()})
    yield
    write(files)


def end_in(days: int, host: Host) -> None:
    """Has a host show a certificate of the fleet's CA with the same key and names, which ends in so many days."""
    shown = x509.load_pem_x509_certificate(host.file("/etc/slm-copilot/server.pem").content_string.encode())
    key = serialization.load_pem_private_key((FLEET / "ca/ca-key.pem").read_bytes(), None)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(shown.issuer, shown.subject, shown.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=days))
    for extension in shown.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    host.check_output("printf %%s %s > /etc/slm-copilot/server.pem && systemctl reload slm-copilot-gateway", made)


def run_out_of_memory(host: Host) -> None:
    """Has the kernel kill a program for want of memory. Where containers have no control groups of their own, beside them: the
    kernel, whose count it is, is the same."""
    if host.file("/sys/fs/cgroup/cgroup.controllers").exists:
        host.run(f"systemd-run --wait --quiet -p MemoryMax=30M -p MemorySwapMax=0 {HUNGRY}")
        return
    group = Path("/sys/fs/cgroup/memory/slm-copilot-hungry")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text("30000000")
        done = subprocess.run(["sh", "-c", f"echo $$ > {group}/cgroup.procs; exec {HUNGRY}"], check=False)
        assert done.returncode == -9
    finally:
        group.rmdir()


@pytest.fixture(scope="module")
def broken(hosts: dict[str, Host], client: Client, quick: None, told: Told) -> Iterator[ExitStack]:
    """Everything that there is an alert for; closing it mends it."""
    madrid, paris, berlin = (hosts[name] for name in ("madrid-1", "paris-1", "berlin-1"))
    with ExitStack() as mend:

        def broke(host: Host, how: str, mended: str) -> None:
            mend.callback(host.check_output, mended)
            host.check_output(how)

        broke(paris, "systemctl stop slm-copilot", "systemctl start slm-copilot")
        broke(berlin, "systemctl stop slm-copilot-node-exporter", "systemctl start slm-copilot-node-exporter")
        engine = berlin.check_output("readlink /opt/slm-copilot/llama.cpp/current")
        other = f"0.0.1-{engine.rpartition('-')[2]}"
        broke(
            berlin,
            f"cd /opt/slm-copilot/llama.cpp && ln -s {engine} {other} && ln -sfn {other} current",
            f"cd /opt/slm-copilot/llama.cpp && ln -sfn {engine} current && rm {other}",
        )
        broke(
            berlin,
            "cp -p /etc/slm-copilot/server.pem /root/",
            "mv /root/server.pem /etc/slm-copilot/ && systemctl reload slm-copilot-gateway",
        )
        end_in(3, berlin)
        # The exporter's view of file systems is as old as its start: containers pass no mounts on.
        restart = "systemctl restart slm-copilot-node-exporter"
        broke(
            madrid,
            "mkdir /srv/full && mount -t tmpfs -o size=8m tmpfs /srv/full && head -c 8000000 /dev/zero > /srv/full/file && "
            + restart,
            f"umount --lazy /srv/full && rmdir /srv/full && {restart}",
        )
        mend.enter_context(Crowd(client, developers=24, tokens=300))
        run_out_of_memory(madrid)
        yield mend


@pytest.fixture(scope="module")
def mended(broken: ExitStack) -> None:
    broken.close()


@pytest.mark.parametrize(("alert", "host"), BREAKS)
def test_it_is_told(broken: ExitStack, told: Told, alert: str, host: str) -> None:
    eventually(lambda: (alert, host, "firing") in told, f"{alert} of {host}; told was {sorted(told)}", 300)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_it_on_a_phone(broken: ExitStack, monitor: Monitor, page: Page, scheme: str) -> None:
    firing = {
        (one["metric"]["alertname"], one["metric"].get("instance", "")) for one in monitor.query('ALERTS{alertstate="firing"}')
    }
    seen = page.seen(scheme, width=390, height=900)
    assert seen.width <= 390, "nobody scrolls sideways"
    assert seen.fetched == [], "nothing comes from elsewhere, or at all"
    assert seen.is_dark is (scheme == "dark")
    for alert in ("CopilotEnginesDiffer", "CopilotCertificateEnds"):
        assert alert in {name for name, _host in firing}
        assert alert in seen.text
    assert "berlin-1" in seen.text and "away" in seen.text


@pytest.mark.parametrize(("alert", "host"), BREAKS)
def test_its_end_is_told(mended: None, told: Told, alert: str, host: str) -> None:
    eventually(lambda: (alert, host, "resolved") in told, f"{alert} of {host}; told was {sorted(told)}", 300)


def test_the_fleet_serves_again(mended: None, client: Client, monitor: Monitor) -> None:
    eventually(lambda: client.chat().status == 200, "the fleet answers")
    eventually(lambda: monitor.value("sum(copilot_server_engine_ready)") == 3, "all engines are back")


SPENT = """
import json, os, pathlib
ticks = {}
for one in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if "slm-copilot" in (one / "cgroup").read_text():
            user, system = (one / "stat").read_text().rpartition(")")[2].split()[11:13]
            ticks[one.name] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except OSError:
        pass
print(json.dumps(ticks))
"""


def spent(host: Host) -> dict[str, float]:
    """Returns how many seconds each process of our services has computed."""
    return dict(json.loads(host.check_output("python3 -c %s", SPENT)))


def test_looks_cost_next_to_nothing(mended: None, hosts: dict[str, Host]) -> None:
    """What the services compute without being asked counts as well. Here Prometheus asks more often than every 15 seconds."""
    watched = {name: host for name, host in hosts.items() if name != "watch-1"}
    shares = {}
    for name, host in watched.items():
        before, began = spent(host), time.monotonic()
        time.sleep(10)
        more = sum(max(0.0, seconds - before.get(process, 0.0)) for process, seconds in spent(host).items())
        shares[name] = more / (time.monotonic() - began) * LOOK_SECONDS / 15
    print({name: f"{100 * share:.2f} % of a core" for name, share in shares.items()})
    assert max(shares.values()) < 0.01, shares
