# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the parts of the adapter share: the pool, the connections to its backends, and the files that describe both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx

from . import systemd, unix
from .access import AccessLog
from .conversations import marks_key
from .metrics import BalancerMetrics
from .names import Mode
from .pool import Health, Pool
from .settings import Mark, Server, Settings, SettingsError, WatchedFile, mark_of, parse_keys, parse_settings
from .slots import EngineFailed
from .templates import Templates
from .usage import Usage
from .warmest import Warmest

logger = logging.getLogger(__name__)

CONNECT_SECONDS = POST_SECONDS = 5.0
MARKS, PSEUDONYMS = "conversations@fleet", "usage@fleet"  # names of keys among those of the servers; hosts cannot have such names
SERVING = "serving"  # file beside the state that names the process; removed when the service stops
TICK_SECONDS = 0.2  # interval at which changes of files are detected, and changes of backends logged


class Abortable(Protocol):
    """An operation in progress at a backend."""

    def abort(self, reason: str) -> None:
        """Ends it at once."""


class Engine:
    """A backend, its key, and its connections."""

    def __init__(self, server: Server, key: str) -> None:
        self.server = server
        self.key = key
        self.ca_mark = _ca_mark(server)  # before it is read, so that a change meanwhile is detected
        self.attempts: set[Abortable] = set()
        self.heard = 0.0  # time of the last data from it, in seconds of time.monotonic()
        self.trusted = False  # it has accepted our key since it was last not ready
        self.listing: dict[str, Any] = {}  # its answer at /v1/models
        self.templates = Templates(self.post, enabled=server.foreign)  # the fleet's own routers know them
        # Each request has its own connection. An idle one could be closed just as it is used again, which would count
        # against the backend. Compared to seconds for a prompt, milliseconds for a handshake do not matter.
        self.transport = unix.Transport(server.socket) if server.socket else _over_tcp(server)

    def request(
        self, method: str, path: str, content: bytes = b"", *, timeout: float | None, below_api: bool = True, user: str = ""
    ) -> httpx.Request:
        """Returns a request with the backend's own key.

        :param timeout: seconds of silence that end it; None: none do.
        :param below_api: the path is below the API's base, else below the server's.
        :param user: name of the caller; empty: the balancer itself. Only the fleet's own servers get it.
        """
        headers = {"accept-encoding": "identity", "authorization": f"Bearer {self.key}"}
        if not self.server.foreign:
            headers |= {"x-copilot-user": user or "balancer", "x-copilot-role": "balancer"}
        if content:
            headers["content-type"] = "application/json"
        times = {"connect": CONNECT_SECONDS, "read": timeout, "write": timeout, "pool": None}
        url = (self.server.api_base if below_api else self.server.origin) + path
        return httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": times})

    async def post(self, target: bytes, content: Any) -> tuple[int, bytes]:
        """Sends a request that needs no slot. Returns status and content; raises EngineFailed."""
        request = self.request("POST", target.decode(), json.dumps(content).encode(), timeout=POST_SECONDS, below_api=False)
        try:
            response = await self.transport.handle_async_request(request)
            return response.status_code, await response.aread()
        except httpx.TransportError as error:
            raise EngineFailed(str(error) or type(error).__name__, reached=True) from error


def _ca_mark(server: Server) -> Mark:
    """Returns the mark of a backend's CA, which may have gone together with the backend."""
    try:
        return mark_of(Path(server.ca_file)) if server.ca_file else ()
    except FileNotFoundError:
        return ()


def _over_tcp(server: Server) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=_tls(server), limits=limits)


def _tls(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca_file or None, cadata=server.ca or None)


class Fleet:
    """The pool: its configuration from files, and its state."""

    def __init__(self, pool_file: Path, keys_file: Path, state_file: Path | None) -> None:
        self._pool_file, self._keys_file, self._state_file = WatchedFile(pool_file), WatchedFile(keys_file), state_file
        self._settings: Settings | None = None
        self._keys: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._written: list[dict[str, Any]] | None = None
        self._serves = False
        self.warmest = Warmest()
        self.pool = Pool([], policy=self.warmest, zone="", zone_policy="any")
        self.metrics = BalancerMetrics(lambda: self.pool.snapshot(time.monotonic()))
        self.usage, self.access_log = Usage(Mode.OFF), AccessLog(Mode.OFF)
        self._own_key = secrets.token_bytes(32)
        self.engines: dict[str, Engine] = {}
        self.on_change: list[Callable[[Settings], None]] = []

    @property
    def settings(self) -> Settings:
        """The current settings. Available after the first ``load``."""
        assert self._settings is not None
        return self._settings

    @property
    def marks_key(self) -> bytes:
        """The fleet's key of what conversations are recognised by, 32 bytes; one of our own where it has none."""
        secret = self._keys.get(MARKS)
        return marks_key(secret) if secret else self._own_key

    @property
    def ready(self) -> bool:
        """Whether any backend can serve requests."""
        return any(one["health"] == Health.READY and one["state"] != "open" for one in self.pool.snapshot(time.monotonic()))

    def load(self) -> None:
        """Reads the files if they changed. Raises SettingsError or OSError; then nothing is changed."""
        try:
            self._load()
        except (SettingsError, OSError):
            self._pool_file.forget()  # the two files are written one after the other: the second one completes the change
            self._keys_file.forget()
            raise

    def _load(self) -> None:
        described, read = self._pool_file.changed(), self._keys_file.changed()
        verified_by = {engine.server.ca_file: engine for engine in self.engines.values()}
        renewed = [name for name, engine in verified_by.items() if engine.ca_mark != _ca_mark(engine.server)]
        if described is None and read is None and not renewed:
            return
        settings = self._settings if described is None else _named(self._pool_file, parse_settings, described)
        keys = self._keys if read is None else _named(self._keys_file, parse_keys, read)
        assert settings is not None
        missing = [server.id for server in settings.servers if server.id not in keys]
        if missing:
            raise SettingsError(f"{self._keys_file.path} has no key for {', '.join(missing)}")
        engines = {}
        for server in settings.servers:
            present = self.engines.get(server.id)
            if present is None or (present.server, present.key) != (server, keys[server.id]) or server.ca_file in renewed:
                present = self._new_engine(server, keys[server.id], present)
            engines[server.id] = present
        try:
            usage = Usage(settings.usage, settings.usage_folder, settings.usage_kept, keys.get(PSEUDONYMS, ""))
            access_log = AccessLog(settings.access_log, keys.get(PSEUDONYMS, ""))
            self.pool.configure(
                zone=settings.zone, zone_policy=settings.zone_policy, failures=settings.failures, cooldown=settings.cooldown
            )
        except ValueError as error:
            raise SettingsError(f"{self._pool_file.path}: {error}") from error
        self.pool.replace([server.backend for server in settings.servers], time.monotonic())
        self.warmest.keep(engines)
        self.metrics.keep(settings.models, engines)
        self.usage.tick()
        self.usage, self.access_log = usage, access_log
        self.engines, self._settings, self._keys = engines, settings, keys
        for changed in self.on_change:
            changed(settings)

    def _new_engine(self, server: Server, key: str, old: Engine | None) -> Engine:
        try:
            engine = Engine(server, key)
        except (OSError, ssl.SSLError) as error:
            where = server.ca_file or "the pool"
            raise SettingsError(f"the CA of backend {server.id} in {where} cannot be read: {error}") from error
        if old is not None:
            engine.attempts = old.attempts  # they continue, and are still aborted if the backend is down
            engine.listing = old.listing
        return engine

    def report(self, engine: Engine, health: Health, detail: str = "", load: int = 0) -> None:
        """Records the observed health of a backend. Requests at a backend that is down are aborted and retried elsewhere."""
        if self.engines.get(engine.server.id) is not engine:
            return  # it left, or has a new key or address, so this is outdated
        self.pool.report(engine.server.id, health, time.monotonic(), detail, load)
        engine.trusted = health is Health.READY
        if health is Health.DOWN:
            for attempt in list(engine.attempts):
                attempt.abort(detail)

    def believe(self, engine: Engine, held: Mapping[str, Any], clock: float) -> None:
        """Notes what a server says to hold. Raises ValueError, KeyError, TypeError or AttributeError when it says something else.

        :param held: by model, as the server calls it.
        :param clock: what to take from the server's times to make them seconds of ``time.monotonic()``.
        """
        if self.engines.get(engine.server.id) is engine:
            names = engine.server.models.items()
            self.warmest.believe(engine.server.id, {name: held[there] for name, there in names if there in held}, clock)

    def serve(self) -> None:
        """Takes over from the previous process, which exits when it notices."""
        if self._state_file:
            self._state_file.with_name(SERVING).write_text(str(os.getpid()))
            self._serves = True

    def _is_named(self) -> bool:
        with contextlib.suppress(OSError):
            return self._state_file is not None and self._state_file.with_name(SERVING).read_text() == str(os.getpid())
        return False

    async def run(self) -> None:
        """Follows the files and writes the state file, until cancelled."""
        complaint = ""
        while True:
            try:
                self.load()
                complaint = ""
            except (SettingsError, OSError) as error:
                if complaint != str(error):
                    logger.error("the pool stays as it was: %s", error)
                    complaint = str(error)
            if self._serves and not self._is_named():
                logger.info("this process was replaced or is to stop: it exits after its last answer")
                self._serves, self._state_file = False, None
                systemd.listen_no_more()
                signal.raise_signal(signal.SIGTERM)
            self.tell()
            await asyncio.sleep(TICK_SECONDS)

    def tell(self) -> None:
        """Logs what changed since the last call, and writes the state file if anything did."""
        now = time.monotonic()
        found = self.pool.snapshot(now)
        told = {one["id"]: _words(one) for one in found}
        for backend_id in [*self._told, *(new for new in told if new not in self._told)]:
            words = told.get(backend_id, "has left the pool")
            if words != self._told.get(backend_id):
                logger.log(logging.INFO if " out" not in words else logging.WARNING, "backend %s %s", backend_id, words)
        self._told = told
        if self._state_file and found != self._written:
            try:
                write_state(self._state_file, found, time.time() - now)
                self._written = found
            except OSError as error:
                logger.error("the state cannot be written to %s: %s", self._state_file, error)


def _named(file: WatchedFile, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except SettingsError as error:
        raise SettingsError(f"{file.path}: {error}") from error


def _words(one: Mapping[str, Any]) -> str:
    if one["health"] == Health.READY:
        if one["state"] == "open":
            return f"is out: {one['failures']} requests in a row failed there"
        return "is in" if one["state"] == "closed" else "is out until one request has tried it"
    if one["health"] == Health.LOADING:
        return "is loading its model"
    if one["health"] == Health.DRAINING:
        return "takes no new requests for a while"
    if one["health"] == Health.UNKNOWN:
        return "joins the pool"
    return f"is out: {one['detail']}"


def write_state(path: Path, snapshot: list[dict[str, Any]], epoch: float) -> None:
    """Writes the state of all backends for people and programs, in one step. Raises OSError.

    :param epoch: what to add to ``opened_until`` to make it seconds since 1970.
    """
    backends = [{**one, "opened_until": one["opened_until"] and round(one["opened_until"] + epoch, 1)} for one in snapshot]
    content = json.dumps({"backends": backends, "written": round(time.time(), 1)}, indent=1)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content + "\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
