# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The models of a running llama-server in router mode: their states, and how to load, unload and reload them."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import UnixConnection

ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.5
PINNED = "pinned"  # the tag of a model that is never unloaded
RUNNING = ("loading", "loaded", "sleeping")
PROCESSING = re.compile(r"^llamacpp:requests_(?:processing|deferred) ([0-9.]+)", re.MULTILINE)


class NobodyThere(CopilotError):
    """Nothing listens on the socket, so no request is in flight."""


@dataclass(frozen=True)
class Model:
    """A model as the router describes it.

    :param status: unloaded, loading, loaded, or sleeping: its process waits, and its memory was given back.
    :param busy: requests that it works on, or that wait for it.
    :param preset: its settings, as lines of an INI file.
    :param port: where its process listens, or listened last. Each process has another one.
    """

    name: str
    status: str
    failed: bool
    pinned: bool
    busy: int
    context_size: int
    slots: int
    idle_seconds: int
    path: str
    preset: str
    port: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("preset", "port")}


Fetch = Callable[..., "tuple[int, str]"]


def client(path: str, headers: Mapping[str, str] | None = None) -> Fetch:
    """Returns a function that sends a request to the Unix socket, and returns status and text of the answer.

    It raises CopilotError when there is no answer, and NobodyThere when nothing listens.

    :param headers: go with each request.
    """
    sent = {"Content-Type": "application/json", **(headers or {})}

    def fetch(method: str, target: str, body: Any = None) -> tuple[int, str]:
        connection = UnixConnection(path, ANSWER_SECONDS)
        try:
            connection.request(method, target, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            kind = NobodyThere if isinstance(error, (FileNotFoundError, ConnectionRefusedError)) else CopilotError
            raise kind(
                f"llama-server does not answer at {path} ({error or type(error).__name__}): look at systemctl status slm-copilot."
            ) from None
        finally:
            connection.close()

    return fetch


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200] or "nothing"


class Router:
    """The models behind one llama-server."""

    def __init__(self, fetch: Fetch, timeout: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._fetch, self._timeout, self._sleep = fetch, timeout, sleep

    def models(self, reload: bool = False) -> list[Model]:
        """Returns all models. Raises CopilotError when llama-server is no router.

        :param reload: has the presets read again. What runs with settings that changed is unloaded.
        """
        try:
            return [self._model(one) for one in self._listed("/models?reload=1" if reload else "/models")]
        except (ValueError, KeyError, TypeError):
            raise CopilotError(
                "llama-server serves a single model and cannot load others: list several in copilot_models, and run site.yml."
            ) from None

    def look(self) -> list[Model]:
        """Returns all models, in router mode or not."""
        try:
            return [self._model(one) if "status" in one else self._only(one) for one in self._listed("/models")]
        except (ValueError, KeyError, TypeError) as error:
            raise CopilotError(f"the answer does not come from a supported llama-server: {error!r}.") from None

    def _listed(self, path: str) -> list[dict[str, Any]]:
        return list(self._answer(path)["data"])

    def _answer(self, path: str) -> Any:
        status, text = self._fetch("GET", path)
        if status != http.client.OK:
            raise CopilotError(f"llama-server answered {status} when asked for its models: {_reason(text)}.")
        return json.loads(text)

    def _only(self, one: Mapping[str, Any]) -> Model:
        """The model of a llama-server with a single model."""
        props = self._answer("/props")
        name = str(one["id"])
        return Model(
            name=name,
            status="sleeping" if props.get("is_sleeping") else "loaded",
            failed=False,
            pinned=False,
            busy=self._busy(name),
            context_size=int(one["meta"]["n_ctx"]),
            slots=int(props["total_slots"]),
            idle_seconds=0,
            path=str(props["model_path"]),
            preset="",
        )

    def _model(self, one: Mapping[str, Any]) -> Model:
        state = one["status"]
        preset = str(state.get("preset", ""))
        arguments = [str(argument) for argument in state.get("args", [])]
        values = dict(re.findall(r"^([a-z-]+) = (.*)$", preset, re.MULTILINE))
        slots = max(int(values.get("parallel", 1)), 1)
        return Model(
            name=str(one["id"]),
            status=str(state["value"]),
            failed=bool(state.get("failed", False)),
            pinned=PINNED in one.get("tags", []),
            busy=self._busy(str(one["id"])) if state["value"] == "loaded" else 0,
            context_size=int(values.get("ctx-size", 0)) // slots,
            slots=slots,
            idle_seconds=int(values.get("sleep-idle-seconds", 0)),
            path=values.get("model", ""),
            preset=preset,
            port=dict(zip(arguments, arguments[1:])).get("--port", ""),
        )

    def _busy(self, name: str) -> int:
        # Of all addresses of a model, this one neither loads it nor wakes it.
        _status, text = self._fetch("GET", f"/metrics?model={quote(name)}&autoload=false")
        return sum(int(float(value)) for value in PROCESSING.findall(text))

    def model(self, name: str) -> Model:
        """Returns one model. Raises CopilotError when there is none of that name."""
        models = self.models()
        for one in models:
            if one.name == name:
                return one
        raise CopilotError(f"there is no model {name!r}. There are: {', '.join(one.name for one in models)}.")

    def load(self, name: str) -> None:
        """Loads a model and waits until it is ready. A sleeping model counts as loaded: a request wakes it."""
        self._do("load", name)
        self._wait(name, lambda one: one.status in ("loaded", "sleeping"), "loaded")

    def unload(self, name: str) -> None:
        """Unloads a model and waits until its process is gone. In-flight requests may finish before.

        A request that waits for it has it loaded again at once, so that it may never be seen unloaded.
        """
        port = self.model(name).port
        self._do("unload", name)
        self._wait(name, lambda one: one.status == "unloaded" or one.port != port, "unloaded")

    def _do(self, what: str, name: str) -> None:
        status, text = self._fetch("POST", f"/models/{what}", {"model": name})
        if status != http.client.OK:
            raise CopilotError(f"{name} cannot be {what}ed: llama-server answered {status}: {_reason(text)}.")

    def _wait(self, name: str, reached: Callable[[Model], bool], state: str) -> None:
        waited = 0.0
        while True:
            one = self.model(name)
            if reached(one):
                return
            if one.failed:
                raise CopilotError(f"{name} was not {state}: its process ended. The reason is in journalctl -u slm-copilot.")
            if waited >= self._timeout:
                raise CopilotError(f"{name} is {one.status} and was not {state} within {self._timeout:g} seconds.")
            self._sleep(POLL_SECONDS)
            waited += POLL_SECONDS


def router_at(socket: str, timeout: float = 0) -> Router:
    """Returns the llama-server behind a Unix socket.

    :param timeout: how long a model may take to load or to unload, in seconds.
    """
    return Router(client(socket), timeout)


def to_change(models: Iterable[Model], names: Iterable[str], state: str) -> list[Model]:
    """Returns those of the models that are not in the state yet.

    :param names: of models; none means all, without the pinned ones where they are to be unloaded.
    :param state: loaded or unloaded.
    :raises CopilotError: for a name that is none of theirs, and for a pinned model that is to be unloaded.
    """
    present = {one.name: one for one in models}
    wanted = list(names)
    unknown = [name for name in wanted if name not in present]
    if unknown:
        raise CopilotError(f"there is no model {', '.join(map(repr, unknown))}. There are: {', '.join(present)}.")
    pinned = [name for name in wanted if present[name].pinned]
    if state == "unloaded" and pinned:
        raise CopilotError(
            f"{', '.join(pinned)} is pinned, and would be loaded again at once: take pinned out of its entry in copilot_models."
        )
    chosen = [present[name] for name in wanted] or [one for one in present.values() if state == "loaded" or not one.pinned]
    return [one for one in chosen if (one.status in RUNNING) != (state == "loaded")]


def interrupts(models: Iterable[Model], names: Iterable[str]) -> dict[str, int]:
    """Returns the number of requests that would be aborted if these models (none: all) were stopped, by model."""
    wanted = set(names)
    return {one.name: one.busy for one in models if one.busy and (not wanted or one.name in wanted)}


def differences(before: Iterable[Model], after: Iterable[Model]) -> list[str]:
    """Returns the names of the models that were added, removed or changed."""
    old, new = {one.name: one.preset for one in before}, {one.name: one.preset for one in after}
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def table(results: Mapping[str, Any]) -> str:
    """Returns a table for people.

    :param results: what model_state_info returned, by host.
    """
    rows = [("host", "model", "status", "requests", "context", "slots", "idle s", "file")]
    for host, result in results.items():
        if "models" not in result:
            rows.append((host, "-", str(result.get("msg", "no answer")), "", "", "", "", ""))
        for one in result.get("models", []):
            status = one["status"] + (" (failed)" if one["failed"] else "") + (", pinned" if one["pinned"] else "")
            idle = str(one["idle_seconds"]) if one["idle_seconds"] else "never"
            rows.append(
                (host, one["name"], status, str(one["busy"]), str(one["context_size"]), str(one["slots"]), idle, one["path"])
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
