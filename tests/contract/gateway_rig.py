# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real HAProxy, with what the role writes for it, and developers in front of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import CHECKOUT, PATIENCE, Answer, Stream, answer_of, certificate, free_port, stopped_unless_ready, wait_for

# Whoever is not root is root in a user namespace, and the owner of the files outside of it: the role gives files to root.
AS_ROOT = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
KEYS = {f"developer-{number}": f"sk-developer-{number}-of-the-contract-tests" for number in range(200)}
ADDRESSES = (f"127.1.0.{number}" for number in range(1, 255))
_seats = zip(KEYS.items(), ADDRESSES, strict=False)


def entry(name: str, key: str, role: str = "developer", expires: int = 0) -> dict[str, Any]:
    """Somebody in the role's list of keys."""
    return {"name": name, "role": role, "sha256": hashlib.sha256(key.encode()).hexdigest(), "expires": expires}


DEVELOPERS = [entry(*one) for one in KEYS.items()]


def play(playbook: Path, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a playbook as root, from the checkout, and returns what became of it, with all that was said in ``stdout``."""
    return subprocess.run(
        [*AS_ROOT, Path(sys.executable).with_name("ansible-playbook"), playbook, "--inventory", inventory, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "true"},
    )


def configure(work: Path, gateways: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Has Ansible configure gateways with such variables, each in a folder with its name; returns what it said to refuse one."""
    ours = {"ansible_python_interpreter": sys.executable, "gateway_user": "root", "gateway_keys": DEVELOPERS}
    hosts = {name: {**ours, "gateway_config_dir": str(work / name), **variables} for name, variables in gateways.items()}
    inventory = work / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    run_dir = json.dumps({"__gateway_run_dir": "{{ gateway_config_dir }}"})
    done = play(CHECKOUT / "tests/contract/gateway.yml", inventory, "--extra-vars", run_dir)
    results = re.findall(r"^(?:fatal|failed): \[(.+?)\].*? => (\{.*\})$", done.stdout, re.MULTILINE)
    assert bool(results) == bool(done.returncode), done.stdout[-3000:]
    return {name: " ".join(str(json.loads(result).get(part, "")) for part in ("msg", "stderr")) for name, result in results}


# Runs a module as Ansible does: a program of its own, with its arguments on standard input.
RUN_MODULE = """
import json, sys
from importlib import import_module
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
_AnsibleCollectionFinder(paths=[sys.argv[1]])._install()
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.load(sys.stdin)):
    import_module("ansible_collections.slm.copilot.plugins.modules." + sys.argv[2]).main()
"""


class Gateway:
    """One HAProxy, as the unit starts it. Variables are those of the role; with none it is configured by somebody else.

    :param uses: of its certificate; empty: all.
    """

    def __init__(self, work: Path, ca: tuple[Path, Path], name: str = "gateway", uses: str = "", **variables: Any) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.ca, self.name, self.uses = ca, name, uses
        self.folder = work / name  # its configuration, and the certificates that it shows
        self.folder.mkdir()
        self.renew()
        if variables:
            refused = configure(work, {name: {**self.ports, **variables}})
            assert not refused, refused
        self.process: subprocess.Popen[bytes] | None = None
        self.within: list[str | Path] = []  # what begins its command, where it runs somewhere else

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens, as variables of the role."""
        return {"gateway_port": self.port, "gateway_metrics_port": self.metrics_port}

    def start(self) -> None:
        (self.folder / "notify").unlink(missing_ok=True)
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # as systemd is told
        self._told.bind(str(self.folder / "notify"))
        self._told.setblocking(False)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.within,
                    "/usr/sbin/haproxy",
                    "-Ws",
                    "-S",
                    f"{self.folder}/master.sock,mode,600",
                    "-f",
                    self.folder / "haproxy.cfg",
                ],
                env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self.folder / "notify")},
                stdout=log,
                stderr=log,
            )
        with stopped_unless_ready(self):
            wait_for("HAProxy is ready", self._ready)

    def _ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log[-3000:]
        with suppress(BlockingIOError):
            return b"READY=1" in self._told.recv(4096)
        return False

    def reload(self) -> None:
        """Has it read its files again, as the unit does, and waits until it has. What it told of reloads before is taken away: a
        socket keeps ten messages, and then HAProxy waits for who reads them."""
        assert self.process is not None
        with suppress(BlockingIOError):
            while self._told.recv(4096):  # of reloads before
                pass
        self.process.send_signal(signal.SIGUSR2)
        wait_for("HAProxy is ready", self._ready)

    def let_in(
        self, keys: list[dict[str, Any]], check_mode: bool = False, fails: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """Runs the module gateway_keys, which succeeds or fails; returns its result, and what it said in all as output."""
        told = {"path": str(self.folder / "keys.map"), "keys": keys, "socket": str(self.folder / "master.sock"), **arguments}
        done = subprocess.run(
            [*AS_ROOT, sys.executable, "-c", RUN_MODULE, CHECKOUT / ".collections", "gateway_keys"],
            input=json.dumps({**told, "_ansible_check_mode": check_mode, "_ansible_diff": True}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.lstrip().startswith("{"), done.stderr[-3000:]
        result = json.loads(done.stdout)
        assert result.get("failed", False) is fails, result.get("msg")
        return {**result, "output": done.stdout + done.stderr}

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None
            self._told.close()

    def renew(self) -> None:
        """Puts a new certificate where it looks at the next start or reload."""
        for new, name in zip(
            certificate(self.folder, self.name, self.ca, self.uses), ("server.pem", "server-key.pem"), strict=True
        ):
            new.replace(self.folder / name)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def metrics(self, path: str = "/metrics", address: str = "127.0.0.1") -> str:
        with urllib.request.urlopen(f"http://{address}:{self.metrics_port}{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def passed_on(self) -> int:
        """How many requests are at the upstream now, or wait for it: those that count as being at once."""
        found = re.search(r'^haproxy_backend_current_sessions\{proxy="upstream"\} (\d+)', self.metrics(), re.MULTILINE)
        assert found
        return int(found[1])

    def developer(self) -> Developer:
        """Somebody new."""
        (name, key), address = next(_seats)
        return Developer(self, key, address, name=name)


@dataclass
class Developer:
    """Somebody with a key, and with an address of their own. Each is new, so that nobody's requests of before count."""

    gateway: Gateway
    key: str | None
    address: str
    certificate: tuple[Path, Path] | None = None
    name: str = ""

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.gateway.ca[0]))
        if self.certificate:
            context.load_cert_chain(*self.certificate)
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        where = {"source_address": (self.address, 0), "context": context or self.context()}
        return http.client.HTTPSConnection("127.0.0.1", self.gateway.port, timeout=PATIENCE, **where)

    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Stream:
        """Sends a request and does not wait for the answer."""
        connection = self.connect()
        connection.request(method, path, body, self.headers() | headers)
        return Stream(connection)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send(method, path, body, **headers).rest()

    def models(self) -> Answer:
        return self.request("GET", "/v1/models")

    def models_often(self, times: int) -> list[Answer]:
        """Asks over one connection, which is quick also where the machine is not."""
        connection = self.connect()
        answers = []
        for _round in range(times):
            connection.request("GET", "/v1/models", headers=self.headers())
            answers.append(answer_of(connection.getresponse()))
        connection.close()
        return answers

    def ask(self, tokens: int, stream: bool = True) -> Stream:
        """Sends a question whose answer has so many tokens, and does not wait for it."""
        question = {
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": stream,
        }
        return self.send("POST", "/v1/chat/completions", json.dumps(question))
