# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of the pool, from two files: ``pool.json`` without secrets, and the keys of the backends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .names import Mode
from .pool import Backend


class SettingsError(Exception):
    """A file is invalid. The message says which and where, without secrets."""


@dataclass(frozen=True)
class Server:
    """Where a backend is and how it is spoken to.

    :param api_base: ``http(s)://host:port/v1``.
    :param socket: path of a Unix socket that is connected to instead of the host; empty: none.
    :param ca_file: path of certificates, PEM, that the backend's must come from.
    :param ca: such certificates themselves. Without both, those that the system trusts count.
    :param models: public name of a model -> its name at the backend.
    :param foreign: it is outside the fleet: it is not told who asks, and has no router of ours, which would say how it is.
    """

    id: str
    zone: str
    slots: int
    api_base: str
    ca_file: str
    models: Mapping[str, str]
    socket: str = ""
    foreign: bool = False
    ca: str = ""

    @property
    def origin(self) -> str:
        """The address without the API's path: where llama-server answers about its health."""
        return self.api_base.removesuffix("/v1")

    @property
    def backend(self) -> Backend:
        """What the pool must know of it."""
        return Backend(id=self.id, zone=self.zone, slots=self.slots, models=frozenset(self.models))


@dataclass(frozen=True)
class Settings:
    """A pool and its rules.

    :param cooldown: seconds that a backend is out after ``failures`` consecutive failures.
    :param request_timeout: seconds that a backend may be silent: queueing, reading the prompt, between two pieces of an answer.
    :param cors_origins: pages of which origin may ask, as llama-server takes it.
    :param histories: for backends outside the fleet they are rewritten as their templates need it.
    :param access_log: how developers are named in the access log.
    :param usage: how developers are named in the usage records of backends outside the fleet.
    :param usage_folder: where that is kept.
    :param usage_kept: seconds for which it is kept.
    :param first_sign: seconds after which a stream that waits gets its headers and a comment.
    :param signs: seconds of silence after which a stream gets another one.
    """

    zone: str
    zone_policy: str
    failures: int
    cooldown: float
    request_timeout: float
    servers: tuple[Server, ...]
    cors_origins: str = "localhost"
    histories: bool = True
    access_log: Mode = Mode.NAME
    usage: Mode = Mode.OFF
    usage_folder: str = ""
    usage_kept: float = 0.0
    first_sign: float = 8.0
    signs: float = 15.0

    @property
    def models(self) -> list[str]:
        """The public names of all models."""
        return sorted({model for server in self.servers for model in server.models})


def parse_settings(text: str) -> Settings:
    """Reads the content of ``pool.json``. Raises SettingsError."""
    try:
        content = json.loads(text)
        backends = content["backends"]
        servers = tuple(_server(entry, f"backends[{index}]") for index, entry in enumerate(backends))
        settings = Settings(
            zone=str(content["zone"]),
            zone_policy=str(content["zone_policy"]),
            failures=int(content["failures"]),
            cooldown=float(content["cooldown"]),
            request_timeout=float(content["request_timeout"]),
            servers=servers,
            **_others(content),
        )
    except KeyError as error:
        raise SettingsError(f"{error} is missing") from error
    except (TypeError, ValueError) as error:
        raise SettingsError(f"it cannot be read: {error}") from error
    if settings.request_timeout <= 0:
        raise SettingsError(f"request_timeout is {settings.request_timeout}: give seconds, more than 0")
    if len({server.id for server in servers}) != len(servers):
        raise SettingsError("two backends have the same id")
    return settings


def _others(content: Mapping[str, Any]) -> dict[str, Any]:
    """What may be missing."""
    kinds: dict[str, Callable[[Any], Any]] = {"cors_origins": str, "histories": bool, "access_log": Mode, "first_sign": float}
    kinds |= {"signs": float, "usage": Mode, "usage_folder": str, "usage_kept": float}
    return {name: kind(content[name]) for name, kind in kinds.items() if name in content}


def _server(entry: Any, where: str) -> Server:
    api_base = str(entry["api_base"]).rstrip("/")
    parts = urlsplit(api_base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise SettingsError(f"{where}.api_base must be an address such as https://host:8443/v1")
    models = entry["models"]
    if not isinstance(models, dict) or not models:
        raise SettingsError(f"{where}.models must map public names of models to their names at the backend")
    return Server(
        id=str(entry["id"]),
        zone=str(entry["zone"]),
        slots=int(entry.get("slots", 1)),
        api_base=api_base,
        ca_file=str(entry.get("ca_file") or ""),
        models={str(name): str(there) for name, there in models.items()},
        socket=str(entry.get("socket") or ""),
        foreign=bool(entry.get("foreign", False)),
        ca=str(entry.get("ca") or ""),
    )


def parse_keys(text: str) -> dict[str, str]:
    """Reads the backends' keys: a JSON object, id of a backend -> its key. Raises SettingsError."""
    try:
        keys = json.loads(text)
    except ValueError:
        raise SettingsError("it is not JSON") from None  # the cause would show its content
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise SettingsError("it must be an object: id of a backend -> its key")
    return keys


Mark = tuple[int, ...]


def mark_of(path: Path) -> Mark:
    """Returns what tells a file from one that replaced it, or from what it held before. Raises OSError."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


class WatchedFile:
    """A file that may be replaced while we run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Mark = ()

    def changed(self) -> str | None:
        """Returns its text if it is another file than at the last call, or was written since; None if not. Raises OSError."""
        mark = mark_of(self.path)
        if mark == self._seen:
            return None
        text = self.path.read_text(encoding="utf-8")
        self._seen = mark
        return text

    def forget(self) -> None:
        """Makes the next call of ``changed`` return the text again."""
        self._seen = ()
