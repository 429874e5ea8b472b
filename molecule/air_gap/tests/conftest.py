# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this scenario share: an operator at a controller without a network, and a counter of what would leave."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
CONTROLLER = "air-gap-controller"
HOSTS = ("air-gap-host", "air-gap-trixie")
SECOND = '-e copilot_model=tiny -e \'{"llama_cpp_build_options": {"ANOTHER": "ON"}}\''  # as bundles.sh made the second bundle
# What a login, Ansible and systemd leave by themselves
IGNORED = ("/proc", "/sys", "/run", "/dev", "/tmp", "/var/tmp", "/var/log", "/var/lib/systemd", "/root/.ansible", "/root/.cache")
# A route to nobody: without any, the kernel would refuse before the counter sees a packet.
COUNTER = """
table inet watched {
  counter leaves {}
  chain output {
    type filter hook output priority 0
    oif != "lo" ip daddr != { 10.89.90.2, 10.89.90.11, 10.89.90.12 } counter name leaves
    oif != "lo" ip6 daddr != fe80::/10 ip6 daddr != ff02::/16 counter name leaves
  }
}
"""


def inside(name: str, *command: str, text: str | None = None) -> str:
    """Runs a program of this machine in the network of a container."""
    pid = subprocess.check_output(["podman", "inspect", "--format", "{{.State.Pid}}", name], text=True).strip()
    return subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", *command], input=text, text=True, stdout=subprocess.PIPE, check=True
    ).stdout


def left() -> dict[str, int]:
    """Returns how many packets each machine has tried to send to somebody else than the others."""
    said = {name: inside(name, "nft", "list", "counter", "inet", "watched", "leaves") for name in (CONTROLLER, *HOSTS)}
    return {name: int(re.findall(r"packets (\d+)", text)[0]) for name, text in said.items()}


class Operator:
    """Somebody who types at the controller."""

    def __init__(self) -> None:
        self.controller: Host = testinfra.get_host(f"podman://{CONTROLLER}")
        self.hosts: dict[str, Host] = {name: testinfra.get_host(f"podman://{name}") for name in HOSTS}

    def fingerprint(self, machine: Host) -> set[str]:
        """Returns all files of a machine with their modes, owners, sizes and times, but for what runs leave anyway."""
        ignored = " -o ".join(f"-path {path}" for path in IGNORED)
        form = "%p %y %m %u %g %s %T@\\n"
        said = machine.check_output(
            f"find / -xdev \\( {ignored} -o -name __pycache__ \\) -prune"
            f" -o ! -type d -printf '{form}' -o -printf '%p %m %u %g\\n'"
        )
        return set(said.splitlines())

    def fingerprints(self) -> dict[str, set[str]]:
        return {name: self.fingerprint(host) for name, host in self.hosts.items()}

    def sources(self) -> dict[str, str]:
        """Returns what apt of each host reads, with checksums: its configuration, sources and lists."""
        files = "find /etc/apt /var/lib/apt/lists /var/cache/apt -type f ! -name lock -exec sha256sum {} + | sort -k 2"
        return {name: host.check_output(files) for name, host in self.hosts.items()}

    def run(self, playbook: str, arguments: str) -> tuple[int, str]:
        done = self.controller.run(
            f"cd /root && ANSIBLE_NOCOLOR=1 slm-copilot/bin/ansible-playbook slm.copilot.{playbook} -i hosts.ini {arguments}"
        )
        return done.rc, done.stdout + done.stderr

    def play(self, name: str, more: str = "", bundle: str = "/media/first", key: str = "/media/key.pub") -> tuple[int, str]:
        given = f"-e copilot_bundle={bundle} -e copilot_bundle_key={key}"
        return self.run(name, f"{given} -e copilot_context_size=1024 -e copilot_gate_slowdown=100 {more}")


def begin(name: str, script: str) -> None:
    """Starts a script on a machine, and does not wait for it."""
    subprocess.run(["podman", "exec", "--detach", name, "sh", "-c", script], check=True)


@pytest.fixture(scope="session")
def operator() -> Operator:
    one = Operator()
    for name in (CONTROLLER, *HOSTS):
        inside(name, "ip", "route", "add", "default", "via", "10.89.90.254")
        inside(name, "nft", "-f", "-", text=COUNTER)
    subprocess.run(["podman", "cp", str(PROJECT / "molecule/air_gap/hosts.ini"), f"{CONTROLLER}:/root/hosts.ini"], check=True)
    one.controller.check_output("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    key = one.controller.check_output("cat /root/.ssh/id_ed25519.pub")
    for host in one.hosts.values():
        host.check_output(f"install -d -m 0700 /root/.ssh && echo '{key}' > /root/.ssh/authorized_keys")
    one.controller.check_output("ssh-keyscan 10.89.90.11 10.89.90.12 2>/dev/null > /root/.ssh/known_hosts")
    return one
