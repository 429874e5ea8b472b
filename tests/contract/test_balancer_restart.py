# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restart of LiteLLM behind the real HAProxy, started as its unit does: the old process ends beside the new one."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config
from gateway_rig import Developer, Gateway
from rig import CHECKOUT, FaultProxy, Member, Service, Stream, members_of, wait_for

UNIT = CHECKOUT / "roles/litellm_lb/templates/slm-copilot-proxy.service.j2"
PIECE_SECONDS = 0.25


class Unit(Service):
    """The service as systemd starts it, and stops it: it ends what it has started itself, and nothing else."""

    def start(self) -> None:
        found = re.search(r"^ExecStart=/bin/sh -c '(.*?)' ", UNIT.read_text(), re.MULTILINE)
        assert found
        if self._command[0] != "/bin/sh":
            self._command = ["/bin/sh", "-c", found[1].replace("$$", "$"), *self._command, "--timeout-graceful-shutdown", "600"]
        super().start()

    def restart(self) -> None:
        self.stop(signal.SIGTERM)
        self.start()
        wait_for("it takes over", lambda: self.serving.read_text() == str(self.python), 120)

    @property
    def serving(self) -> Path:
        return self.work / "serving"

    @property
    def python(self) -> int:
        """The process that serves."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def memory_mib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


def ask(developer: Developer, tokens: int) -> Stream:
    hello = [{"role": "user", "content": f"hello {tokens}"}]
    question = {"model": "tiny", "messages": hello, "max_tokens": tokens, "ignore_eos": True, "stream": True}
    return developer.send("POST", "/v1/chat/completions", json.dumps(question))


@pytest.fixture
def unit(litellm_venv: Path, members: list[Member], tmp_path: Path) -> Iterator[Unit]:
    service = Unit(litellm_venv, litellm_config({"request_timeout": 3600}), tmp_path)
    service.pool(members[0])
    service.start()
    service.settle("a")
    yield service
    last = service.python
    service.stop()
    service.serving.unlink(missing_ok=True)  # as systemd does, with the whole folder
    wait_for("what served ends", lambda: not runs(last))


@pytest.fixture
def gateway(unit: Unit, fleet_ca: tuple[Path, Path], tmp_path: Path) -> Iterator[Gateway]:
    unlimited = {"gateway_key_requests": 0, "gateway_address_requests": 0}
    gateway = Gateway(tmp_path, fleet_ca, gateway_upstream=f"unix@{unit.work}/socket", **unlimited)
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("seconds", [0, pytest.param(150, marks=pytest.mark.full)])
def test_a_stream_outlives_the_restart_and_no_request_fails(
    unit: Unit, proxies: list[FaultProxy], gateway: Gateway, seconds: int
) -> None:
    old = unit.python
    proxies[0].pause = PIECE_SECONDS
    began = time.monotonic()
    long = ask(gateway.developer(), 2000)
    long.first()
    unit.pool(*members_of(proxies)[1:])  # the others answer fast
    unit.settle("b", "c")

    failures, waits, over = [], [], threading.Event()
    developer = gateway.developer()

    def keep_asking() -> None:
        while not over.is_set():
            asked = time.monotonic()
            try:
                answer = ask(developer, 4).rest()
                if answer.status != 200 or answer.events[-1] != "[DONE]":
                    failures.append(f"{answer.status} {answer.text[-200:]}")
            except (OSError, AssertionError) as error:
                failures.append(repr(error))
            waits.append(time.monotonic() - asked)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        wait_for("requests are answered", lambda: len(waits) > 3)
        unit.restart()
        new, answered = unit.python, len(waits)
        both = memory_mib(old) + memory_mib(new)
        wait_for("the new one answers", lambda: len(waits) > answered + 5)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        assert runs(old)
    finally:
        over.set()
        asking.join()
    print(f"the longest wait {max(waits):.1f} s, {both} MiB for both, {len(waits)} answers")
    assert failures == [] and new != old

    proxies[0].pause = 0
    answer = long.rest()
    assert answer.events[-1] == "[DONE]" and len(answer.events) > 2000
    print(f"the stream took {time.monotonic() - began:.0f} s, with {len(answer.events)} events")

    wait_for("the old process ends with its last stream", lambda: not runs(old))
    assert unit.process is not None and unit.process.poll() is None


def test_the_service_ends_with_its_process(unit: Unit) -> None:
    """So that systemd sees it, and starts it again."""
    assert unit.process is not None
    os.kill(unit.python, signal.SIGKILL)
    assert unit.process.wait(60) == 128 + signal.SIGKILL
    unit.start()
