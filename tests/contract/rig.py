# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real llama-servers, a fault before each, and the real service in front of them."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import random
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
ROUTER = CHECKOUT / "roles/router/files"  # where the package is
LITELLM = CHECKOUT / "roles/litellm_lb/files"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slm-copilot"
ADA: Mapping[str, str] = MappingProxyType({"X-Copilot-User": "ada", "X-Copilot-Role": "admin"})
ALICE: Mapping[str, str] = MappingProxyType({"X-Copilot-User": "alice", "X-Copilot-Role": "developer"})
BACKEND_KEY = "sk-backend-of-the-contract-tests"
MARKS_KEY = "sk-conversations-of-the-contract-tests"
USAGE_KEY = "sk-of-pseudonyms-0123456789"
PATIENCE = 40  # seconds until a test gives up waiting: the machine may be busy


def venv_of(role: Path) -> Path:
    """Returns a venv as a role makes it, from the same lock file, in the cache.

    :param role: the role's folder of files.
    """
    lock = role / "requirements.txt"
    venv = CACHE / {ROUTER: "router", LITELLM: "litellm"}[role] / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)]
        subprocess.run([venv / "bin/python", "-m", "pip", "install", *options], check=True)
        (venv / "complete").touch()
    return venv


def free_port() -> int:
    """Returns one that is still free when a program takes it, seconds later: the kernel gives it to no connection meanwhile."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10000, max(end, 11000)), 1000):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise AssertionError("no port is free")


def wait_for(what: str, check: Callable[[], Any], seconds: float = PATIENCE, every: float = 0.05) -> Any:
    """Returns what the check returns as soon as that is true; fails when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} seconds: {what}")


@contextmanager
def stopped_unless_ready(program: Any) -> Iterator[None]:
    """Leaves no process behind that nobody has."""
    try:
        yield
    except BaseException:
        program.stop()
        raise


def certificate(directory: Path, name: str, ca: tuple[Path, Path] | None = None, uses: str = "") -> tuple[Path, Path]:
    """Makes a certificate for this machine, and its key: of that CA, or its own CA; for such uses, or for all."""
    key, chain = directory / f"{name}.key", directory / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += [
        "-subj",
        f"/CN={name}",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "keyUsage=digitalSignature,keyCertSign",
    ]
    command += ["-addext", f"extendedKeyUsage={uses}"] if uses else []
    command += ["-keyout", str(key), "-out", str(chain), *(("-CA", str(ca[0]), "-CAkey", str(ca[1])) if ca else ())]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


class Llama:
    """One llama-server, on a port or on a Unix socket; with presets it is a router of several models, some loaded at a time."""

    def __init__(
        self,
        engine: Path,
        model: Path,
        work: Path,
        alias: str = "tiny",
        presets: str = "",
        slots: int = 1,
        context: int = 4096,
        locked: bool = True,
        socket: Path | None = None,
        loaded: int = 1,
        options: Sequence[str] = (),
    ) -> None:
        self.port = 0 if socket else free_port()
        self._path = socket
        key_file = work / "keys"
        key_file.write_text(f"{BACKEND_KEY}\n")
        size = ["--ctx-size", str(slots * context), "--parallel", str(slots)]
        what = ["--model", str(model), "--alias", alias, *size, "--threads", "1"]
        if presets:
            (work / "models.ini").write_text(presets)
            what = ["--models-preset", str(work / "models.ini"), "--models-max", str(loaded)]
        self._command = [
            *(str(engine / "bin/llama-server"), *what),
            *(["--host", str(socket)] if socket else ["--host", "127.0.0.1", "--port", str(self.port)]),
            *("--cache-ram", "0", "--slots", "--metrics", *(["--api-key-file", str(key_file)] if locked else [])),
            *options,
        ]
        self._log = (work / f"llama-{self.port}.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_ready(self) -> None:
        wait_for(f"llama-server at {self._path or self.port} is ready", lambda: self._get("/health")[0] == 200)

    def _get(self, path: str) -> tuple[int, bytes]:
        with suppress(OSError, http.client.HTTPException):
            connection = self.connect(10)
            connection.request("GET", path, headers={"Authorization": f"Bearer {BACKEND_KEY}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        return 0, b""

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        if self._path:
            return UnixConnection(self._path, timeout)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    @property
    def computed(self) -> int:
        """How many tokens of prompts it has computed."""
        found = re.search(rb"^llamacpp:prompt_tokens_total (\d+)", self._get("/metrics")[1], re.MULTILINE)
        assert found
        return int(found[1])

    @property
    def busy(self) -> int:
        """How many of its slots compute."""
        return sum(slot["is_processing"] for slot in json.loads(self._get("/slots")[1]))

    def wait_idle(self) -> None:
        """Waits until its slots are free. It notices a client that left before its answer began once it has had no result for a
        second, and to be asked about its slots is one: so it is asked seldom."""
        wait_for("its slots are free", lambda: not self.busy, every=1.5)


class UnixConnection(http.client.HTTPConnection):
    """Connects to a Unix socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class FaultProxy:
    """Passes connections on to a server, or does something worse with them. One connection carries one request."""

    def __init__(self, target: int | Path, tls: ssl.SSLContext | None = None, path: Path | None = None) -> None:
        """Listens on a TCP port, or on a Unix socket.

        :param target: the server's port, or its Unix socket.
        """
        self.target = target
        self.fault = ""  # of requests below /v1: reset, cut (before any data), cut in data, or a status to answer with
        self.pause = 0.0  # seconds before each piece of an answer
        self.mute = False  # /health gets no answer
        self.foreign = False  # an engine other than llama-server: it has no /health
        self.stranger = False  # a gateway before it does not know the key
        self.gone = False  # connections are refused, /health as well
        self.frozen = threading.Event()  # set: nothing moves any more, in either direction
        self.held = threading.Event()  # set: requests below /v1/chat wait before the server gets them
        self.signs = b""  # the head of a stream, and what else they get meanwhile
        self.amid = b""  # a chunk that streams get after their first events
        self.left = 0  # how many clients left meanwhile
        self.bodies: list[dict[str, Any]] = []  # of requests below /v1
        self.raw: list[bytes] = []  # the same as they came, and of all other requests with a body
        self.heads: list[str] = []  # of the same requests, in lower case
        self._tls = tls
        if path:
            self._listener, self.port = socket.socket(socket.AF_UNIX), 9  # where nobody listens
            self._listener.bind(str(path))
            self._listener.listen(128)
        else:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def heal(self) -> None:
        self.fault, self.gone, self.pause, self.mute, self.foreign, self.stranger = "", False, 0.0, False, False, False
        self.frozen.clear()
        self.held.clear()
        self.signs, self.amid, self.left = b"", b"", 0
        self.bodies.clear()
        self.raw.clear()
        self.heads.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError), client:
            if self.gone:
                return self._reset(client)
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            head, body = self._request(client)
            while self.frozen.is_set():
                time.sleep(0.02)
            fault = "404" if self.foreign and b" /v1/" not in head.splitlines()[0] else ""
            while self.mute and b" /health " in head.splitlines()[0]:
                time.sleep(0.1)
            self.raw += [body] if body else []
            if head.split(b" ", 2)[1].startswith(b"/v1/chat"):
                self.bodies.append(json.loads(body))
                self.heads.append(head.decode().lower())
                fault = self.fault
            if self.stranger and b" /health " not in head.splitlines()[0]:
                fault = "401" if b" /v1/" in head.splitlines()[0] else "404"
            if fault == "reset":
                return self._reset(client)
            if fault.isdigit():
                content = json.dumps({"error": {"message": f"fault {fault}", "type": "made", "code": int(fault)}}).encode()
                start = f"HTTP/1.1 {fault} Fault\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
                return client.sendall(start.encode() + b"Connection: close\r\n\r\n" + content)
            begun = self._hold(client) if head.split(b" ", 2)[1].startswith(b"/v1/chat") else False
            if begun is None:
                return None
            with self._connect() as server:
                server.sendall(head + body)
                if begun:
                    server.recv(65536)  # the head, of which the client has one
                self._pump(client, server, fault)
        return None

    def _connect(self) -> socket.socket:
        if isinstance(self.target, int):
            return socket.create_connection(("127.0.0.1", self.target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self.target))
        return server

    def _hold(self, client: socket.socket) -> bool | None:
        """Waits; returns whether the head was sent meanwhile, None if the client left."""
        begun = False
        while self.held.is_set():
            if self.signs and not begun:
                client.sendall(self.signs)
                begun = True
            ready, _writable, _failed = select.select([client], [], [], 0.02)
            if self.gone:
                self._reset(client)
                return None
            if ready and not client.recv(65536):
                self.left += 1
                return None
        return begun

    def _request(self, client: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                raise ValueError
            data += piece
        head, _line, body = data.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        while len(body) < length:
            body += client.recv(65536)
        return head + b"\r\n\r\n", body

    def _pump(self, client: socket.socket, server: socket.socket, fault: str) -> None:
        seen = b""
        while True:
            ready, _writable, _failed = select.select([client, server], [], [], 0.05)
            while self.frozen.is_set():
                time.sleep(0.02)
            if client in ready and not client.recv(65536):
                return None  # the client hung up: the server must see that
            if server in ready:
                piece = server.recv(128 if self.pause else 65536)
                if not piece:
                    return None
                seen += piece
                time.sleep(self.pause)
                if fault == "cut" and b"\r\n\r\n" in seen:
                    start = seen.partition(b"\r\n\r\n")[0]
                    sign_of_life = b"8\r\n: ping\n\n\r\n" if b"chunked" in start else b""
                    client.sendall(start + b"\r\n\r\n" + sign_of_life)
                    return self._reset(client)
                client.sendall(piece)
                if self.amid and seen.count(b"data:") >= 2 and piece.endswith(b"\n\n\r\n"):
                    client.sendall(self.amid)
                    self.amid = b""
                if fault == "cut in data" and seen.count(b"data:") >= 3:
                    return self._reset(client)

    def _reset(self, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"].startswith("application/json"), self
        error = self.json["error"]
        assert set(error) >= {"message", "type", "param", "code"}, f"not OpenAI's form: {error}"
        return dict(error)

    @property
    def events(self) -> list[str]:
        """The data of a stream's events; its form is checked."""
        assert self.text.endswith("\n\n"), f"the stream is cut: {self.text[-200:]!r}"
        lines = [line for line in self.text.split("\n") if line and not line.startswith(":")]
        assert all(line.startswith("data: ") for line in lines), lines
        return [line.removeprefix("data: ") for line in lines]


def answer_of(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode())


class Stream:
    """A streamed answer that is being read."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._response: http.client.HTTPResponse | None = None
        self._text = ""

    @property
    def response(self) -> http.client.HTTPResponse:
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    @property
    def seen(self) -> int:
        """How many events have come."""
        return self._text.count("data: ")

    def first(self, events: int = 2) -> None:
        """Waits until the answer has begun."""
        while self.seen < events:
            line = self.response.readline().decode()
            assert line, f"ended early: {self._text}"
            self._text += line

    def rest(self) -> Answer:
        with suppress(http.client.IncompleteRead):
            self._text += self.response.read().decode()
        return replace(answer_of(self.response), text=self._text)

    def text_until_it_breaks(self) -> str:
        """Returns what came of an answer that was broken off, maybe nothing."""
        with suppress(http.client.HTTPException, ConnectionError):
            self._text += self.response.read().decode()
        return self._text

    def leave(self) -> None:
        """Hangs up without a word."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        if self._response is not None:
            self._response.close()


@dataclass
class Member:
    """A backend as pool.json has it."""

    id: str
    port: int
    zone: str = "here"
    scheme: str = "http"
    ca_file: str = ""
    ca: str = ""
    key: str = BACKEND_KEY
    models: dict[str, str] = field(default_factory=lambda: {"tiny": "tiny"})
    socket: str = ""
    foreign: bool = False
    slots: int = 1


def members_of(proxies: list[FaultProxy]) -> list[Member]:
    return [Member(name, proxy.port) for name, proxy in zip(("a", "b", "c"), proxies, strict=True)]


class Service:
    """The real proxy, from its own venv. Its socket is made here, as it is by systemd on a host."""

    def __init__(self, venv: Path, config: dict[str, Any], work: Path, loop: str = "auto", site: Path | None = None) -> None:
        self.work = work
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(work / "socket"))
        self._listener.listen(128)
        self.config = work / "config.yaml"
        self.config.write_text(json.dumps(config))  # which is YAML, too
        self._command = [
            *(str(venv / "bin/python"), "-m", "uvicorn", "copilot_router.app:app", "--fd", str(self._listener.fileno())),
            *("--http", "copilot_router.protocol:Protocol", "--no-access-log", "--loop", loop),
        ]
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(work),
            "PYTHONPATH": ":".join(str(path) for path in (ROUTER, site) if path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CONFIG_FILE_PATH": str(self.config),
            "COPILOT_POOL_FILE": str(work / "pool.json"),
            "COPILOT_BACKEND_KEYS_FILE": str(work / "backend-keys.json"),
            "COPILOT_STATE_FILE": str(work / "state.json"),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.changed = True  # its pool is not that of the fixture
        self._numbers = itertools.count(100)

    def start(self) -> None:
        with (self.work / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self.work,
                stdout=log,
                stderr=log,
                pass_fds=[self._listener.fileno()],
            )
        with stopped_unless_ready(self):
            wait_for("the service answers", self._answers, 4 * PATIENCE)  # LiteLLM reads thousands of files first

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log[-3000:]
        with suppress(OSError):
            return self.request("GET", "/health").status in (200, 503)
        return False

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    @property
    def log(self) -> str:
        return (self.work / "log").read_text()

    def pool(self, *members: Member, **rules: Any) -> None:
        """Writes the pool's files, as Ansible does: each in one step."""
        self.changed = True
        backends = [
            {
                "id": one.id,
                "zone": one.zone,
                "slots": one.slots,
                "api_base": f"{one.scheme}://127.0.0.1:{one.port}/v1",
                "ca_file": one.ca_file,
                "ca": one.ca,
                "models": one.models,
                "socket": one.socket,
                "foreign": one.foreign,
            }
            for one in members
        ]
        settings = {"zone": "here", "zone_policy": "any", "failures": 2, "cooldown": 30, "request_timeout": 3600, **rules}
        _replace(self.work / "pool.json", json.dumps({**settings, "backends": backends}))
        keys = {one.id: one.key for one in members}
        _replace(
            self.work / "backend-keys.json", json.dumps({**keys, "conversations@fleet": MARKS_KEY, "usage@fleet": USAGE_KEY})
        )

    def wait_pool(self, *members: Member, **rules: Any) -> None:
        """Does the same, and waits until it holds; all members must be able to become ready."""
        self.pool()
        self.settle()
        self.pool(*members, **rules)
        self.settle(*(one.id for one in members))

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        with suppress(OSError):
            return {one["id"]: one for one in json.loads((self.work / "state.json").read_text())["backends"]}
        return {}

    def wait_state(self, member: str, **expected: Any) -> dict[str, Any]:
        def check() -> dict[str, Any] | None:
            found = self.state.get(member)
            return found if found and {name: found[name] for name in expected} == expected else None

        try:
            return dict(wait_for("", check))
        except AssertionError:
            raise AssertionError(f"{member} is never {expected}: {self.state}\n{self.log[-2000:]}") from None

    def settle(self, *members: str) -> None:
        """Waits until just these are in the pool, all of them ready and idle."""
        fine = {"health": "ready", "state": "closed", "in_flight": 0, "failures": 0}

        def check() -> bool:
            state = self.state
            return set(state) == set(members) and all({name: one[name] for name in fine} == fine for one in state.values())

        try:
            wait_for("", check)
        except AssertionError:
            raise AssertionError(f"the pool does not settle: {self.state}\n{self.log[-2000:]}") from None

    def request(self, method: str, path: str, body: Any = None, who: Mapping[str, str] = ALICE) -> Answer:
        return self.open(method, path, body, who).rest()

    def open(self, method: str, path: str, body: Any = None, who: Mapping[str, str] = ALICE) -> Stream:
        """Sends a request as the gateway does.

        :param body: bytes as they are, anything else as JSON.
        :param who: headers that say who asks.
        """
        connection = UnixConnection(self.work / "socket")
        headers = {"Content-Type": "application/json", **who}
        connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers)
        return Stream(connection)

    def chat(self, tokens: int = 4, **more: Any) -> Answer:
        return self.begin(tokens, **more).rest()

    def begin(self, tokens: int = 4, who: Mapping[str, str] = ALICE, **more: Any) -> Stream:
        """Begins a conversation and does not wait for the answer."""
        hello = {"role": "user", "content": f"hello {next(self._numbers)}"}
        body = {"model": "tiny", "messages": [hello], "max_tokens": tokens, "ignore_eos": True}
        return self.open("POST", "/v1/chat/completions", {**body, **more}, who)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def count(proxies: list[FaultProxy]) -> list[int]:
    return [len(proxy.bodies) for proxy in proxies]


def each(streams: list[Stream]) -> Iterator[Answer]:
    for stream in streams:
        yield stream.rest()
