# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drains a server: keeps new requests away while in-flight requests finish."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server.router import NobodyThere

DRAIN_SECONDS = 60  # after which a drain ends by itself, whatever became of us
RENEW_SECONDS = 15.0  # while the block runs, which may measure the engine for minutes before it stops it
POLL_SECONDS = 0.5
READY_SECONDS = 30.0  # in which the router must see an engine that answers
Ask = Callable[[str, str, Any], "tuple[int, str]"]
NOBODY: Mapping[str, Any] = {"busy": {}, "health": "down"}
CONNECTED = ("02", "03")  # in the kernel's table of Unix sockets: not accepted yet, and accepted


@dataclass
class Drained:
    """The outcome of a drain: seconds until no request was in flight, and the number of requests aborted after the timeout."""

    seconds: float = 0.0
    cut: int = 0


def mark(ask: Ask, seconds: float) -> Mapping[str, Any]:
    """Makes the router stop assigning slots for so many seconds (0 resumes), and returns its state.

    :param ask: sends a request to the router, and returns status and text of the answer.
    :raises CopilotError: when it does not answer, or not as one of ours does.
    """
    status, text = ask("POST", "/router/drain", {"seconds": seconds})
    try:
        state: Mapping[str, Any] = json.loads(text)
        if status == 200 and {"busy", "health"} <= state.keys():
            return state
    except (ValueError, AttributeError):
        pass
    raise CopilotError(
        f"the router does not drain, and says {status}: {text[:200]}. Look at journalctl -u slm-copilot-router. Where it cannot "
        "be helped, systemctl stop slm-copilot-router.socket slm-copilot-router.service lets the next run go on"
    )


def connections(path: str, table: Path = Path("/proc/net/unix")) -> int:
    """Returns the current number of connections to a Unix socket."""
    rows = [line.split() for line in table.read_text(encoding="utf-8", errors="replace").splitlines()]
    return sum(row[5] in CONNECTED and row[-1] == path for row in rows)


@contextmanager
def drained(
    ask: Ask | None,
    timeout: float,
    *,
    cut: bool,
    tell: Callable[[int], None],
    callers: Callable[[], int] = lambda: 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Drained]:
    """Drains the server, runs the block, and resumes.

    :param ask: sends a request to the router. Without it, or if no router listens, no request is in flight there.
    :param timeout: seconds to wait at most.
    :param cut: whether the block runs then all the same.
    :param tell: called regularly with the number of in-flight requests.
    :param callers: returns the number of in-flight requests besides those of the router.
    :raises CopilotError: if requests are still in flight after the timeout, or the router does not answer; then all goes on as
        before.
    """
    found, start = Drained(), clock()
    state = _drain(ask)
    was_ready = state["health"] == "ready"
    try:
        while under_way := sum(state["busy"].values()) + callers():
            found.seconds = clock() - start
            if found.seconds >= timeout and not cut:
                raise CopilotError(
                    f"{under_way} requests were still in flight after {timeout:g} seconds, and the host keeps running unchanged: "
                    "run again later, raise copilot_drain_timeout, or abort them with -e copilot_drain_cuts=true"
                )
            if found.seconds >= timeout:
                found.cut = under_way
                break
            tell(under_way)
            sleep(POLL_SECONDS)
            state = _drain(ask)
        with _renewed(ask):
            yield found
        end = clock() + READY_SECONDS
        while was_ready and ask and not _lets_in(ask) and clock() < end:
            sleep(POLL_SECONDS)
    finally:
        with suppress(CopilotError):
            if ask:
                mark(ask, 0)


@contextmanager
def _renewed(ask: Ask | None) -> Iterator[None]:
    """Keeps the drain from ending by itself while the block runs."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEW_SECONDS):
            with suppress(CopilotError):
                _drain(ask)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _drain(ask: Ask | None) -> Mapping[str, Any]:
    try:
        return mark(ask, DRAIN_SECONDS) if ask else NOBODY
    except NobodyThere:
        return NOBODY


def _lets_in(ask: Ask) -> bool:
    """Ends the drain, and returns whether the engine is ready. A restarted router may take a moment to answer."""
    try:
        return bool(mark(ask, 0)["health"] == "ready")
    except CopilotError:
        return False
