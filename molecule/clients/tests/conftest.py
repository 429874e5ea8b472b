# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A developer at a workstation, with the archive that the operator handed over and the real programs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

SCENARIOS = os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "molecule")
sys.path[:0] = [os.path.join(SCENARIOS, "resources"), os.path.join(SCENARIOS, "clients")]

from engine import ROUTER_SOCKET, SOCKET, ask
from journal import journal_of, shown_on_failure
from people import FLEET, INVENTORY, PROJECT, Operator, Run
from slow_server import HOLD

HOSTS = PROJECT / "molecule/clients/inventory/hosts.yml"
WORKSTATION = "clients-developer"
CERTIFICATES = INVENTORY.parents[1] / "client-ca"
WRONG_KEY = "sk-" + "x" * 43
BLOCK = re.compile(r"^```sh (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def clients_of(operator: Operator, host: str, mtls: str = "off", **options: Any) -> Run:
    """Runs the playbook as if that host were the fleet."""
    return operator.run(
        playbook="playbooks/clients.yml",
        groups={"copilot_servers": [host]},
        copilot_clients_dir=str(FLEET / host),
        client_config_mtls=mtls,
        **options,
    )


@dataclass
class Developer:
    """Somebody who unpacked the archive, reads the README and types what stands there."""

    home: str
    readme: str

    @property
    def blocks(self) -> dict[str, str]:
        return dict(BLOCK.findall(self.readme))

    def types(self, program: str, command: str, seconds: int = 90) -> subprocess.CompletedProcess[str]:
        """Does what the README says for a program, then types a command, in a project of the own."""
        script = f"shopt -s expand_aliases\ncd ~/project\n{self.blocks[program]}\n{command}\n"
        return self.runs(script, seconds)

    def command(self, script: str, seconds: int, *more: str) -> list[str]:
        """Returns what runs a script at the workstation, for so many seconds at most."""
        environment = {
            "HOME": self.home,
            "PATH": "/opt/clients/bin:/usr/local/bin:/usr/bin:/bin",
            # There is no way to the internet, where some look for news, and wait.
            "AIDER_CHECK_UPDATE": "false",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "PI_OFFLINE": "1",
            "CONTINUE_TELEMETRY_ENABLED": "0",
            "CI": "1",
        }
        options = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        return ["podman", "exec", *more, "--user", "alice", *options, WORKSTATION, "timeout", str(seconds), "bash", "-c", script]

    def runs(self, script: str, seconds: int = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, seconds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def has_a_wrong_key(self) -> Developer:
        return self.has_another_key(WRONG_KEY)

    def has_another_key(self, other_key: str) -> Developer:
        """Returns a developer whose files are the same but for the key."""
        key = self.runs("cat ~/slm-copilot/api-key").stdout.strip()
        other = self.elsewhere("another-key")
        changed = other.runs(f"grep -rlF -- {shlex.quote(key)} ~ | xargs sed -i s/{key}/{other_key}/")
        assert changed.returncode == 0, changed.stdout
        return other

    def elsewhere(self, name: str) -> Developer:
        """Returns a developer with the same archive, unpacked in an empty home."""
        other = Developer(f"{self.home}-{name}", self.readme)
        copied = self.runs(f"rm -rf {other.home} && mkdir -p {other.home}/project && cp -r ~/slm-copilot {other.home}")
        assert copied.returncode == 0, copied.stdout
        return other


def unpacked(operator: Operator, host: str, **options: Any) -> Developer:
    """Returns a developer who has nothing but the archive."""
    written = clients_of(operator, host, **options)
    assert written.status == 0, written.output[-3000:]
    archive = FLEET / host / "alice/slm-copilot-alice.tar.gz"
    home = f"/home/alice/{host}"
    workstation = testinfra.get_host(f"podman://{WORKSTATION}")
    workstation.check_output("install -d -o alice -g alice %s %s/project", home, home)
    subprocess.run(["podman", "cp", archive, f"{WORKSTATION}:{home}/"], check=True)
    workstation.check_output("chown -R alice:alice %s", home)
    developer = Developer(home, (FLEET / host / "alice/README.md").read_text())
    done = developer.runs(f"cd && {developer.blocks['unpack']}")
    assert done.returncode == 0, done.stdout
    return developer


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("operator"), [HOSTS])


@pytest.fixture(scope="session")
def developer(operator: Operator) -> Developer:
    return unpacked(operator, "clients-one")


@pytest.fixture(scope="session")
def certified(operator: Operator) -> Developer:
    """A developer with a client certificate, for the endpoint that asks for one."""
    folder = FLEET / "clients-mtls/alice"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("client.pem", "client-key.pem"):
        (folder / name).write_bytes((CERTIFICATES / name).read_bytes())
        (folder / name).chmod(0o600)
    return unpacked(operator, "clients-mtls", mtls="required", copilot_users=[{"name": "alice"}])


@dataclass
class Slow:
    """An endpoint at the workstation that takes its time, as one on CPUs does, and says nothing meanwhile: slow_server.py."""

    workstation: Host
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def asked(self) -> list[dict[str, Any]]:
        """Returns the requests that it got."""
        ask = "import ssl, sys, urllib.request as u; c = ssl.create_default_context(cafile=sys.argv[1])"
        ask += "; print(u.urlopen(sys.argv[2] + '/asked', context=c).read().decode())"
        asked = self.workstation.run("python3 -c %s %s %s", ask, "/opt/slow/ca.pem", self.url)
        return list(json.loads(asked.stdout or "[]"))


@contextmanager
def slow_endpoint(port: int, tokens: int) -> Iterator[Slow]:
    """Runs one with a certificate of the fleet's CA, which developers have."""
    workstation = testinfra.get_host(f"podman://{WORKSTATION}")
    unit = f"slow-{port}"
    workstation.check_output(
        "systemd-run --unit=%s --property=Type=notify --property=NotifyAccess=all python3 /slow_server.py "
        "--tokens %s --port %s --certificate /opt/slow/server.pem --key /opt/slow/server-key.pem",
        unit,
        str(tokens),
        str(port),
    )
    try:
        yield Slow(workstation, port)
    finally:
        workstation.check_output("systemctl stop %s", unit)


HOLDERS = """
import http.client, json, socket, sys, time
kept = []
for _slot in range(int(sys.argv[2])):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sys.argv[1])
    body = {"messages": [{"role": "user", "content": sys.argv[3]}], "stream": True}
    head = {"Content-Type": "application/json", "X-Copilot-User": "holder", "X-Copilot-Role": "developer"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), head)
    kept.append(connection)
time.sleep(3600)
"""


@dataclass
class SlowEngine:
    """A host whose gateway and router are real, and whose llama-server takes its time: slow_server.py is in its place."""

    host: Host

    def asked(self) -> list[dict[str, Any]]:
        """Returns the requests that it got."""
        return list(ask(self.host, "/asked"))

    @property
    def waiting(self) -> int:
        """How many requests wait in the router for a slot."""
        return sum(one["waiting"] for one in ask(self.host, "/running", at=ROUTER_SOCKET)["running"])

    def free(self) -> None:
        """Lets go of the slots."""
        self.host.check_output("systemctl stop slow-holders")


@contextmanager
def slow_engine(host: Host, slots: int, tokens: int) -> Iterator[SlowEngine]:
    """Puts one into the place of a host's llama-server, all of whose slots are held by others."""
    account = dict(line.split("=", 1) for line in host.check_output("systemctl show slm-copilot -p User -p Group").splitlines())
    subprocess.run(["podman", "cp", PROJECT / "molecule/clients/slow_server.py", "clients-one:/slow_server.py"], check=True)
    host.check_output("systemctl stop slm-copilot")
    try:
        host.check_output(
            "systemd-run --unit=slow-engine --property=Type=notify --property=NotifyAccess=all --property=UMask=0007 "
            "--property=RuntimeDirectory=slm-copilot --property=RuntimeDirectoryMode=0750 --property=User=%s --property=Group=%s "
            "python3 /slow_server.py --tokens %s --socket %s",
            account["User"],
            account["Group"],
            str(tokens),
            SOCKET,
        )
        host.check_output("systemd-run --unit=slow-holders python3 -c %s %s %s %s", HOLDERS, ROUTER_SOCKET, str(slots), HOLD)
        engine = SlowEngine(host)
        end = time.monotonic() + 60
        while len(engine.asked()) < slots:
            assert time.monotonic() < end, journal_of(host, "slm-copilot-router", "slow-*")
            time.sleep(0.5)
        yield engine
    finally:
        host.run("systemctl stop slow-holders slow-engine")
        host.check_output("systemctl start slm-copilot")


@pytest.fixture(scope="session")
def slow_certificate(developer: Developer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A certificate of the fleet's CA for the workstation itself."""
    folder = tmp_path_factory.mktemp("slow")
    folder.chmod(0o755)  # the developer reads the CAs there
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    (folder / "ca.pem").write_bytes((FLEET / "ca/ca.pem").read_bytes())
    (folder / "other-ca.pem").write_bytes((CERTIFICATES / "ca.pem").read_bytes())
    new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout server-key.pem -out server.csr -subj /CN=slow"
    sign = f"x509 -req -in server.csr -CA ca.pem -CAkey {FLEET}/ca/ca-key.pem -days 2 -extfile extensions -out server.pem"
    for arguments in (new, sign):
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
    subprocess.run(["podman", "cp", folder, f"{WORKSTATION}:/opt/slow"], check=True)


@dataclass
class Asked:
    """What llama-server was asked for: the prompt as the model's template made it, and whether the answer is to be streamed."""

    prompt: str
    stream: bool


@dataclass
class Server:
    """A host with llama-server, as somebody sees it who logs in there."""

    host: Host

    def asked(self, words: str) -> list[Asked]:
        """Returns the last requests whose prompt has these words."""
        slots = ask(self.host, "/slots")
        return [Asked(slot["prompt"], slot["params"]["stream"]) for slot in slots if words in slot.get("prompt", "")]


@pytest.fixture(scope="session")
def one() -> Server:
    return Server(testinfra.get_host("podman://clients-one"))


@pytest.fixture(scope="session")
def mtls() -> Server:
    return Server(testinfra.get_host("podman://clients-mtls"))


@pytest.fixture(autouse=True)
def journal(request: pytest.FixtureRequest, one: Server) -> Iterator[None]:
    """Prints what the service said when a test fails."""
    with shown_on_failure(request, lambda: journal_of(one.host, "slm-copilot")):
        yield


@pytest.fixture
def hosts() -> Callable[[str], Host]:
    return lambda name: testinfra.get_host(f"podman://{name}")
