# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules that the role writes, in a real kernel. A server and its visitors are network namespaces."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network_rig import USER, Namespace
from rig import CHECKOUT, wait_for

PORT, OTHER_PORT, PEERS_PORT = 8443, 22, 8406
SERVER = ("10.1.0.1", "fd01::1")
NAMES = ("balancer", "monitor", "developer", "admin")
VISITORS = {name: (f"10.1.0.{number}", f"fd01::{number}") for number, name in enumerate(NAMES, 2)}
EVERYBODY = {f"{name} {address}" for name, addresses in VISITORS.items() for address in addresses}
BALANCER, DEVELOPER, ADMIN = VISITORS["balancer"], VISITORS["developer"], VISITORS["admin"]

# What an inventory may say of the host, and who is let in then.
SETTINGS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "behind-balancers": (
        {
            "copilot_fleet_balancers": ["balancer"],
            "copilot_fleet_monitors": ["monitor"],
            "gateway_admin_networks": [*ADMIN, "127.0.0.0/8"],
        },
        # The monitor has one address in the inventory, of IPv4.
        {"balancer 10.1.0.2", "balancer fd01::2", "monitor 10.1.0.3", "admin 10.1.0.5", "admin fd01::5"},
    ),
    "alone": ({}, EVERYBODY),
    "for-one-developer": ({"copilot_firewall_allow": list(DEVELOPER)}, {"developer 10.1.0.4", "developer fd01::4"}),
    "a-balancer": (
        {"copilot_fleet_balancers": ["balancer", "a-balancer"], "copilot_firewall_allow": list(DEVELOPER)},
        {"balancer 10.1.0.2", "balancer fd01::2", "developer 10.1.0.4", "developer fd01::4"},
    ),
}
# What it may get wrong, and what is said then.
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "host-bits": ({"copilot_firewall_allow": ["10.1.0.1/8"]}, "copilot_firewall_allow (firewall_networks) has '10.1.0.1/8'"),
    "nobody": ({"copilot_firewall_allow": []}, "the firewall would admit nobody"),
    "text": ({"copilot_firewall": "true"}, "copilot_firewall is the text 'true': give a boolean"),
    "misspelt": ({"copilot_firewal": True}, "did you mean copilot_firewall?"),
    "unknown-name": ({"copilot_fleet_monitors": ["lost"]}, "cannot resolve 'lost.invalid'"),
}


ECHO = """
import socket, sys, threading
def serve(client):
    while data := client.recv(100):
        client.sendall(data)
def listen(family, port):
    with socket.create_server(("", port), family=family) as server:
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
for port in sys.argv[1:]:
    for family in (socket.AF_INET, socket.AF_INET6):
        threading.Thread(target=listen, args=(family, int(port))).start()
"""

# Says back each line by way of the server, over one connection.
TALK = """
import socket, sys
source, target, port = sys.argv[1:]
with socket.create_connection((target, int(port)), timeout=2, source_address=(source, 0)) as connection:
    for line in sys.stdin:
        connection.sendall(line.encode())
        print(connection.recv(100).decode().strip(), flush=True)
"""


class Server(Namespace):
    """A host with the firewall, an echo on its two ports, and a table of somebody else."""

    def __init__(self, work: Path) -> None:
        super().__init__("unshare", *(["--map-root-user"] if USER else []), "--net")
        self.work = work
        self.visitors = Namespace(*map(str, self.command("unshare", "--net")))
        self.run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", self.visitors.pid)
        for host, addresses in ((self, [SERVER]), (self.visitors, VISITORS.values())):
            host.run("ip", "link", "set", "veth0", "up")
            for ipv4, ipv6 in addresses:
                host.run("ip", "address", "add", f"{ipv4}/24", "dev", "veth0")
                host.run("ip", "address", "add", f"{ipv6}/64", "dev", "veth0", "nodad")
        self.run(
            "nft",
            "--file",
            "-",
            given="table ip theirs { chain input { type filter hook input priority 0; tcp dport 99 drop; }; }",
        )
        self._echo = subprocess.Popen(self.command(sys.executable, "-c", ECHO, *map(str, (PORT, OTHER_PORT, PEERS_PORT))))
        wait_for("the echo answers", lambda: self.let_in() == self.let_in(OTHER_PORT) == self.let_in(PEERS_PORT) == EVERYBODY)

    def close(self) -> None:
        self._echo.kill()
        self._echo.wait()
        self.visitors.close()
        super().close()

    def unit(self, name: str, action: str) -> None:
        """Does what a unit does to load, reload or remove the table. (What it remembers then needs systemd.)"""
        for line in (self.work / name / "unit").read_text().splitlines():
            if line.startswith(f"{action}=/usr/sbin/nft"):
                self.run(*shlex.split(line.partition("=")[2]))

    @property
    def tables(self) -> list[str]:
        return self.run("nft", "list", "tables").splitlines()

    def talk(self, source: str, port: int = PORT) -> subprocess.Popen[str]:
        target = SERVER[":" in source]
        command = self.visitors.command(sys.executable, "-c", TALK, source, target, str(port))
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def let_in(self, port: int = PORT) -> set[str]:
        """Who can connect, from which of their addresses."""
        talks = {f"{name} {source}": self.talk(source, port) for name, addresses in VISITORS.items() for source in addresses}
        answers = {visitor: talk.communicate("hello\n")[0] for visitor, talk in talks.items()}
        assert set(answers.values()) <= {"", "hello\n"}
        return {visitor for visitor, answer in answers.items() if answer}


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("firewall"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def refused(plugged: Server) -> dict[str, str]:
    """Has Ansible write the rules of all settings, where they are to be loaded; returns what it said of those that it refused."""
    guarded = {
        name: {
            "ansible_python_interpreter": sys.executable,
            "copilot_firewall": True,
            "firewall_config_dir": str(plugged.work / name),
            **variables,
        }
        for name, (variables, _outcome) in {**SETTINGS, **MISTAKES}.items()
    }
    for name in guarded:
        (plugged.work / name).mkdir()
    others = {
        "balancer": {"ansible_host": BALANCER[0], "firewall_addresses": list(BALANCER)},
        "monitor": {"ansible_host": VISITORS["monitor"][0]},
        "lost": {"ansible_host": "lost.invalid"},
    }
    inventory = plugged.work / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": others, "children": {"guarded": {"hosts": guarded}}}}))
    play = [Path(sys.executable).with_name("ansible-playbook"), CHECKOUT / "tests/contract/firewall.yml"]
    done = subprocess.run(
        plugged.command(*play, "--inventory", inventory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "true", "ANSIBLE_FORKS": "2"},
    )
    found = dict(re.findall(r"^fatal: \[(.+?)\].*?=> (\{.*\})$", done.stdout, re.MULTILINE))
    assert found.keys() == MISTAKES.keys(), done.stdout[-5000:]
    return found


@pytest.fixture
def server(plugged: Server, refused: dict[str, str]) -> Iterator[Server]:
    assert plugged.tables == ["table ip theirs"]
    yield plugged
    plugged.run("nft", "table inet slm_copilot; delete table inet slm_copilot")


@pytest.mark.parametrize("name", SETTINGS)
def test_who_is_named_is_let_in_and_nobody_else(server: Server, name: str) -> None:
    server.unit(name, "ExecStart")
    assert server.let_in() == SETTINGS[name][1]


def test_the_port_between_balancers_is_for_these(server: Server) -> None:
    server.unit("a-balancer", "ExecStart")
    assert server.let_in(PEERS_PORT) == {f"balancer {address}" for address in BALANCER}
    server.unit("alone", "ExecReload")
    assert server.let_in(PEERS_PORT) == EVERYBODY, "where nothing listens, nothing is guarded"


def test_everything_else_stays_as_it_is(server: Server) -> None:
    server.unit("for-one-developer", "ExecStart")
    assert server.let_in(OTHER_PORT) == EVERYBODY
    assert server.tables == ["table ip theirs", "table inet slm_copilot"]
    for address in SERVER:  # the host itself
        command = server.command(sys.executable, "-c", TALK, address, address, str(PORT))
        assert subprocess.run(command, input="hello\n", capture_output=True, text=True, check=True).stdout == "hello\n"


@pytest.mark.parametrize("source", BALANCER)
def test_a_connection_that_is_open_goes_on(server: Server, source: str) -> None:
    talk = server.talk(source)
    assert talk.stdin and talk.stdout
    for step in ("nothing", "ExecStart", "ExecReload"):
        server.unit("for-one-developer", step)
        talk.stdin.write(f"{step}\n")
        talk.stdin.flush()
        assert talk.stdout.readline().strip() == step
    talk.communicate()
    assert server.talk(source).communicate("hello\n")[0] == ""  # a new one is not let in


def test_new_rules_take_the_place_of_the_old_ones(server: Server) -> None:
    server.unit("alone", "ExecStart")
    server.unit("for-one-developer", "ExecReload")
    assert server.let_in() == SETTINGS["for-one-developer"][1]


def test_what_is_removed_leaves_nothing(server: Server) -> None:
    server.unit("for-one-developer", "ExecStart")
    server.unit("for-one-developer", "ExecStop")
    assert server.tables == ["table ip theirs"]
    assert server.let_in() == EVERYBODY
    server.unit("for-one-developer", "ExecStop")  # also when somebody else was faster


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_work_is_refused_before_anything_is_written(plugged: Server, refused: dict[str, str], name: str) -> None:
    assert MISTAKES[name][1] in refused[name]
    assert not list((plugged.work / name).iterdir())
