# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The address that moves between balancers: real gateways and keepalived on two hosts, and a developer on a third."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from gateway_rig import Gateway, configure
from network_rig import USER, Namespace
from rig import CHECKOUT, PATIENCE, wait_for

ADDRESS = "10.2.0.100"
HOSTS = {"madrid-1": "10.2.0.11", "paris-1": "10.2.0.12"}
# Facts list the devices of /sys, which shows those of the namespace that mounted it.
SEES_ITS_DEVICES = ("unshare", "--mount", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh")
SECONDS = 8.0  # in which it moves: two failed checks, and three signs of life that do not come


class Balancer(Namespace):
    """A host with a gateway, something behind it that answers, and keepalived."""

    def __init__(self, network: Namespace, name: str, work: Path, ca: tuple[Path, Path]) -> None:
        super().__init__("unshare", *(["--map-root-user"] if USER else []), "--net")
        self.name, self.work = name, work / name
        self.gateway = Gateway(work, ca, name)
        self.gateway.within = self.command()
        plug(network, self, name, HOSTS[name])
        empty = work / f"{name}-pages"
        empty.mkdir()
        serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", empty, "4000"]
        self._upstream = subprocess.Popen(self.command(*serve), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._keepalived: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.work / "keepalived.log").open("ab") as log:
            pids = ["--pid", self.work / "keepalived.pid", "--vrrp_pid", self.work / "vrrp.pid"]
            told = ["--vrrp", "--dont-fork", "--log-console", "--no-syslog", "--use-file", self.work / "keepalived.conf", *pids]
            self._keepalived = subprocess.Popen(self.command("/usr/sbin/keepalived", *told), stdout=log, stderr=log)

    @property
    def has_it(self) -> bool:
        return ADDRESS in self.run("ip", "-brief", "address", "show", "dev", "veth0")

    @property
    def log(self) -> str:
        return (self.work / "keepalived.log").read_text()

    def close(self) -> None:
        for process in (self._keepalived, self._upstream):
            if process is not None:
                process.terminate()
                process.wait(PATIENCE)
        self.gateway.stop()
        super().close()


def plug(network: Namespace, host: Namespace, name: str, address: str) -> None:
    network.run("ip", "link", "add", name, "type", "veth", "peer", "name", "veth0", "netns", host.pid)
    network.run("ip", "link", "set", name, "master", "switch", "up")
    host.run("ip", "address", "add", f"{address}/24", "dev", "veth0")
    host.run("ip", "link", "set", "veth0", "up")


class Fleet:
    """Two balancers, and a developer who asks them by the address."""

    def __init__(self, work: Path, ca: tuple[Path, Path]) -> None:
        self.ca = ca[0]
        self.network = Namespace("unshare", *(["--map-root-user"] if USER else []), "--net")
        self.network.run("ip", "link", "add", "switch", "type", "bridge")
        self.network.run("ip", "link", "set", "switch", "up")
        self.developer = Namespace(*map(str, self.network.command("unshare", "--net")))
        plug(self.network, self.developer, "developer", "10.2.0.50")
        self.balancers = [Balancer(self.network, name, work, ca) for name in HOSTS]

    def start(self, work: Path) -> None:
        ours = {"gateway_upstream": "127.0.0.1:4000", "gateway_upstream_health_path": "/", "copilot_virtual_ip": ADDRESS}
        ports = {"gateway_port": 8443, "gateway_metrics_port": 8405, "gateway_peers": []}
        fleet = {"copilot_fleet_balancers": list(HOSTS), "virtual_ip_user": "root"}
        hosts = {
            one.name: {
                "ansible_host": HOSTS[one.name],
                "virtual_ip_config_dir": str(one.work),
                "virtual_ip_install_dir": str(one.work),
                **(ours | ports | fleet),
            }
            for one in self.balancers
        }
        refused = configure(work, hosts)
        assert not refused, refused
        play = [Path(sys.executable).with_name("ansible-playbook"), CHECKOUT / "tests/contract/virtual_ip.yml"]
        for one in self.balancers:
            done = subprocess.run(
                one.command(*SEES_ITS_DEVICES, *play, "--inventory", work / "hosts.json", "--limit", one.name),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                cwd=CHECKOUT,
                env={**os.environ, "ANSIBLE_NOCOLOR": "true"},
            )
            assert done.returncode == 0, done.stdout[-3000:]
        for one in self.balancers:
            one.gateway.start()
            one.start()

    @property
    def holder(self) -> Balancer:
        """Who has the address, which is one host once it is settled."""

        def found() -> list[Balancer]:
            return [one for one in self.balancers if one.has_it]

        wait_for("one has it", lambda: len(found()) == 1)
        return found()[0]

    def other(self, than: Balancer) -> Balancer:
        return next(one for one in self.balancers if one is not than)

    def status(self) -> str:
        """What a developer gets at the address; 000: nothing."""
        certified = ["--cacert", str(self.ca), "--connect-to", f"127.0.0.1:443:{ADDRESS}:8443"]
        asks = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "1", *certified]
        command = self.developer.command(*asks, "https://127.0.0.1/health")
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def until_it_answers(self) -> float:
        """Returns for how many seconds a developer gets no answer."""
        start = time.monotonic()
        wait_for("a developer is answered", lambda: self.status() == "200")
        return time.monotonic() - start

    def close(self) -> None:
        for one in (*self.balancers, self.developer, self.network):
            one.close()


@pytest.fixture(scope="module")
def started(fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    work = tmp_path_factory.mktemp("virtual-ip")
    fleet = Fleet(work, fleet_ca)
    try:
        fleet.start(work)
        yield fleet
    finally:
        fleet.close()


@pytest.fixture
def fleet(started: Fleet) -> Fleet:
    """Both serve, and one has the address."""
    for one in started.balancers:
        if one.gateway.process is None:
            serves_again(one)
    wait_for("a developer is answered", lambda: started.status() == "200")
    return started


def serves_again(one: Balancer) -> None:
    """Starts its gateway, and waits until keepalived has seen that."""
    seen = one.log.count("Changing effective priority from 50 to 100")
    one.gateway.start()
    wait_for("keepalived knows", lambda: one.log.count("Changing effective priority from 50 to 100") > seen)


def test_it_moves_when_a_gateway_stops_and_comes_back(fleet: Fleet) -> None:
    first = fleet.holder
    second = fleet.other(first)
    first.gateway.stop()
    lost = fleet.until_it_answers()
    print(f"{lost:.1f} s without an answer, when a gateway stops")
    assert lost < SECONDS and fleet.holder is second
    serves_again(first)
    time.sleep(3)  # six signs of life of the one that has it
    assert fleet.holder is second, "it stays where it is: to move it back would cut answers"
    second.gateway.stop()
    assert fleet.until_it_answers() < SECONDS
    assert fleet.holder is first


def test_it_moves_when_a_host_is_gone(fleet: Fleet) -> None:
    first = fleet.holder
    fleet.network.run("ip", "link", "set", first.name, "down")
    lost = fleet.until_it_answers()
    print(f"{lost:.1f} s without an answer, when a host is gone")
    assert lost < SECONDS and fleet.other(first).has_it
    fleet.network.run("ip", "link", "set", first.name, "up")
    assert fleet.until_it_answers() < SECONDS
    assert fleet.holder


def test_it_stays_where_nobody_serves(fleet: Fleet) -> None:
    first = fleet.holder
    second = fleet.other(first)
    second.gateway.stop()
    wait_for("keepalived knows", lambda: second.log.rstrip().endswith("Changing effective priority from 100 to 50"))
    first.gateway.stop()
    wait_for("keepalived knows", lambda: "Changing effective priority from 100 to 50" in first.log)
    time.sleep(3)
    assert fleet.holder is first
    assert json.loads(first.run("ip", "-json", "address", "show", "dev", "veth0"))


@pytest.mark.parametrize(("wrong", "taken"), [("", True), ("intervall 1", False)], ids=["right", "wrong"])
def test_a_configuration_is_tested_before_it_is_installed(fleet: Fleet, tmp_path: Path, wrong: str, taken: bool) -> None:
    """Also where the program that asks has an account of its own, as on hosts."""
    one = fleet.balancers[0]
    new = tmp_path / "new"
    text = (one.work / "keepalived.conf").read_text().replace("script_user root", "script_user nobody")
    new.write_text(text.replace("interval 1", wrong or "interval 1"))
    assert "script_user nobody" in new.read_text()
    task = yaml.safe_load((CHECKOUT / "roles/virtual_ip/tasks/configure.yml").read_text())[0]
    (command,) = (file["validate"] for file in task["slm.copilot.files"]["files"] if "validate" in file)
    done = one.command(*shlex.split(command.replace("%s", str(new))))
    assert (subprocess.run(done, check=False, capture_output=True).returncode == 0) is taken
