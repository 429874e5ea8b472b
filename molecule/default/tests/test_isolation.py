# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-server cannot send anything anywhere: what is within reach is tried out from inside, as its own account."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from conftest import ADDRESS
from engine import SOCKET
from testinfra.host import Host

HUB = "10.89.78.2"
# Prints the addresses and sockets that somebody answers at, and the interfaces.
LOOK = """
import json, os, socket, stat, sys

found = {"addresses": [], "sockets": [], "abstract": [], "interfaces": [name for _number, name in socket.if_nameindex()]}
for host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), 3).close()
        found["addresses"].append([host, port])
    except OSError:
        pass
for folder, below, files in os.walk("/"):
    if folder in ("/proc", "/sys"):
        below.clear()
    for name in files:
        path = os.path.join(folder, name)
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_UNIX, kind) as one:
                    if one.connect_ex(path) == 0:
                        found["sockets"].append(path)
for line in open("/proc/self/net/unix"):
    if line.split()[-1].startswith("@"):
        found["abstract"].append(line.split()[-1])
print(json.dumps(found))
"""


def process_of(container: str, unit: str) -> int:
    """Returns the number that a service of a container has on this machine."""
    command = ["podman", "inspect", "--format", "{{.Id}}", container]
    group = subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if re.search(rf"{group}.*/{unit}$", (folder / "cgroup").read_text(), re.MULTILINE):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"{unit} does not run in {container}")


TARGETS = json.dumps([[HUB, 8080], [ADDRESS, 8443], ["127.0.0.1", 8443], ["127.0.0.1", 22], ["::1", 22], ["10.89.78.1", 53]])


def test_the_engine_reaches_nothing_but_its_own_socket(server: Host) -> None:
    user, group = str(server.user("slm-copilot").uid), str(server.group("slm-copilot-engine").gid)
    process = process_of("copilot-default", "slm-copilot.service")
    command = ["nsenter", f"--target={process}", "--net", "--mount", "--pid", "--setuid", user, "--setgid", group]
    done = subprocess.run([*command, "python3", "-c", LOOK, TARGETS], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"addresses": [], "sockets": [SOCKET], "abstract": [], "interfaces": ["lo"]}


def test_others_on_the_host_reach_a_lot(server: Host) -> None:
    """So that the test before means something."""
    outside = json.loads(server.check_output("runuser -u slm-copilot -- python3 -c %s %s", LOOK, TARGETS))
    assert [HUB, 8080] in outside["addresses"] and [ADDRESS, 8443] in outside["addresses"]
    assert "/run/dbus/system_bus_socket" in outside["sockets"]


def test_without_a_network_of_its_own_it_does_not_start(server: Host) -> None:
    """As in a container where systemd may not give it one, which systemd does not say."""
    folder = "/run/systemd/system/slm-copilot.service.d"
    server.check_output(f"mkdir -p {folder} && printf '[Service]\\nPrivateNetwork=no\\nRestart=no\\n' > {folder}/test.conf")
    try:
        server.check_output("systemctl daemon-reload")
        assert server.run("systemctl restart slm-copilot").rc != 0
        assert "eth0" in server.check_output("journalctl --unit=slm-copilot --lines=5 --no-pager --output=cat")
    finally:
        server.check_output(f"rm -r {folder} && systemctl daemon-reload && systemctl restart slm-copilot")
