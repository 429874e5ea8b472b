# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real llama-server on a Unix socket, and the real router of a server before it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rig import BACKEND_KEY, MARKS_KEY, PATIENCE, ROUTER, Answer, Llama, Stream, UnixConnection, stopped_unless_ready, wait_for

# Short, so that tests are.
QUICK = {"restart_wait": 20, "first_sign": 0.5, "signs": 0.5, "state_length": 3, "state_beat": 0.5}


class Caller:
    """Somebody at a Unix socket."""

    def __init__(self, path: Path, role: str = "developer") -> None:
        self.path, self.role = path, role

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> Stream:
        connection = UnixConnection(self.path)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        head = {"Content-Type": "application/json", "X-Copilot-User": "alice", "X-Copilot-Role": self.role, **headers}
        connection.request(method, path, content, head)
        return Stream(connection)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return self.open(method, path, body, **headers).rest()

    def begin(self, tokens: int = 4, **more: Any) -> Stream:
        """Sends a chat request and does not wait for the answer."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": tokens, "ignore_eos": True}
        return self.open("POST", "/v1/chat/completions", {**body, **more})

    def chat(self, tokens: int = 4, **more: Any) -> Answer:
        return self.begin(tokens, **more).rest()


class EngineOnSocket(Llama):
    """One llama-server without network, of one model or, with presets, of several."""

    def __init__(
        self,
        engine: Path,
        model: Path,
        work: Path,
        *,
        slots: int = 2,
        presets: str = "",
        loaded: int = 2,
        context: int = 16384,
        options: Sequence[str] = (),
    ) -> None:
        self.socket = work / "llama.sock"
        super().__init__(
            engine,
            model,
            work,
            presets=presets,
            slots=slots,
            context=context,
            locked=False,
            socket=self.socket,
            loaded=loaded,
            options=options,
        )
        self.direct = Caller(self.socket)

    def start(self, wait: bool = True) -> None:
        self.socket.unlink(missing_ok=True)  # as systemd removes its folder
        super().start()
        if wait:
            self.wait_ready()

    @property
    def requests(self) -> tuple[int, int]:
        """How many it works on, and how many it has waiting, by its own count."""
        text = self.direct.request("GET", "/metrics").text
        found = dict(re.findall(r"^llamacpp:requests_(processing|deferred) ([0-9]+)", text, re.MULTILINE))
        return int(found["processing"]), int(found["deferred"])

    def wait_idle(self) -> None:
        """Asks seldom: a llama-server that is asked notices later that a client left before its answer began."""
        wait_for("its slots are free", lambda: self.requests == (0, 0), every=1.5)


class Watching:
    """Looks at llama-server's own counts for as long as something runs."""

    def __init__(self, engine: EngineOnSocket) -> None:
        self.processing = self.deferred = 0
        self._engine, self._over = engine, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.is_set():
            processing, deferred = self._engine.requests
            self.processing, self.deferred = max(self.processing, processing), max(self.deferred, deferred)
            time.sleep(0.02)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()


class Router:
    """The router, from a venv of its own, with a socket that somebody else holds, as systemd does."""

    def __init__(self, venv: Path, engine: EngineOnSocket, work: Path, **settings: Any) -> None:
        self.work, self.socket = work, work / "router.sock"
        content = {"engine_socket": str(engine.socket), "models": {"tiny": 2}, **QUICK, **settings}
        if content.get("marks_key_file"):
            Path(content["marks_key_file"]).write_text(MARKS_KEY)
        (work / "router.json").write_text(json.dumps(content))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen(128)
        number = self._listener.fileno()
        self._command = [
            *(str(venv / "bin/python"), "-m", "uvicorn", "copilot_router.server:app", "--fd", str(number)),
            *("--http", "copilot_router.protocol:Protocol", "--no-access-log", "--no-server-header"),
            *("--timeout-graceful-shutdown", str(PATIENCE)),
        ]
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROUTER),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COPILOT_ROUTER_FILE": str(work / "router.json"),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.developer, self.balancer, self.admin = (Caller(self.socket, role) for role in ("developer", "balancer", "admin"))

    def start(self) -> None:
        with (self.work / "router.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, pass_fds=[self._listener.fileno()]
            )
        with stopped_unless_ready(self):
            wait_for("the router answers", lambda: self.developer.request("GET", "/health").status in (200, 503))

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    @property
    def log(self) -> str:
        return (self.work / "router.log").read_text()

    @property
    def state(self) -> dict[str, Any]:
        """What it tells balancers now."""
        stream = self.balancer.open("GET", "/router/state")
        try:
            return dict(json.loads(stream.response.readline()))
        finally:
            stream.leave()

    def wait_state(self, **expected: Any) -> dict[str, Any]:
        """Waits until the state has these values."""

        def check() -> dict[str, Any] | None:
            found = self.state
            return found if {name: found[name] for name in expected} == expected else None

        try:
            return dict(wait_for("", check))
        except AssertionError:
            raise AssertionError(f"the router is never {expected}: {self.state}\n{self.log[-2000:]}") from None


# What a balancer knows of its servers, without the LiteLLM above it, which takes its time to start.
BALANCER = """
import asyncio, os, sys
from pathlib import Path
from copilot_router.fleet import Fleet
from copilot_router.watcher import Watcher

async def main(work):
    fleet = Fleet(work / "pool.json", work / "keys.json", work / "state.json")
    fleet.load()
    await asyncio.gather(Watcher(fleet).run(), fleet.run())

asyncio.run(main(Path(sys.argv[1])))
"""


class Follower:
    """What in a balancer follows servers, with these routers in its pool, each on its host."""

    def __init__(self, venv: Path, work: Path, **routers: Path) -> None:
        self.work = work
        backend = {"zone": "here", "slots": 2, "api_base": "http://localhost/v1", "models": {"tiny": "tiny"}}
        backends = [{"id": name, "socket": str(path), **backend} for name, path in routers.items()]
        rules = {"zone": "here", "zone_policy": "any", "failures": 2, "cooldown": 30, "request_timeout": 3600}
        (work / "pool.json").write_text(json.dumps({**rules, "backends": backends}))
        (work / "keys.json").write_text(json.dumps(dict.fromkeys(routers, BACKEND_KEY)))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROUTER), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen([venv / "bin/python", "-c", BALANCER, work], env=environment, stderr=sys.stderr)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self, name: str, seconds: float = PATIENCE, **expected: Any) -> dict[str, Any]:
        """Waits until a server is seen so."""

        def check() -> dict[str, Any] | None:
            with suppress(OSError):
                found = {one["id"]: one for one in json.loads((self.work / "state.json").read_text())["backends"]}[name]
                return found if {key: found[key] for key in expected} == expected else None
            return None

        return dict(wait_for(f"{name} is {expected}", check, seconds))


@contextmanager
def serving(llama: EngineOnSocket, router: Router) -> Iterator[None]:
    """Has both run, and the router see a ready engine, for as long as the block does."""
    llama.start()
    try:
        router.start()
        router.wait_state(health="ready")
        yield
    finally:
        router.stop()
        llama.kill()
