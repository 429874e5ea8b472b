# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service as a process: it speaks to backends and to nobody else, and ends when its streams have."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._litellm import litellm_config
from rig import PATIENCE, FaultProxy, Service, UnixConnection, members_of, wait_for
from router_rig import EngineOnSocket, Router

# Notes every address that Python asks for. uvloop does not pass here, so the service is started with asyncio's own loop.
WATCH = """
import sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[:2]
        with open({log!r}, "a") as log:
            log.write(f"{{event}} {{address}}\\n")
sys.addaudithook(hook)
"""


@pytest.fixture(scope="module")
def watched(
    litellm_venv: Path, proxies_of_session: list[FaultProxy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One that is not shared with other tests, and notes its addresses in its folder."""
    work, site = tmp_path_factory.mktemp("watched"), tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(WATCH.format(log=str(work / "addresses")))
    service = Service(litellm_venv, litellm_config({"request_timeout": 3600}), work, loop="asyncio", site=site)
    service.pool(*members_of(proxies_of_session))
    service.start()
    service.settle("a", "b", "c")
    yield service
    service.stop()


def test_no_connection_but_to_backends(watched: Service, proxies: list[FaultProxy]) -> None:
    assert watched.chat(2).status == 200
    assert watched.chat(2, stream=True).status == 200
    assert watched.chat(model="unknown").status == 404
    lines = (watched.work / "addresses").read_text().splitlines()
    assert any(f"'127.0.0.1', {proxies[0].port}" in line for line in lines), "nothing was noted at all"
    assert [line for line in lines if "127.0.0.1" not in line] == []


def test_it_ends_when_its_streams_have(watched: Service) -> None:
    stream = watched.begin(300, stream=True)
    stream.first()
    assert watched.process is not None
    watched.process.send_signal(signal.SIGTERM)
    answer = stream.rest()
    assert answer.events[-1] == "[DONE]"
    assert len(answer.events) > 300
    watched.process.wait(PATIENCE)


def test_who_connected_just_before_it_stops_is_answered(router_venv: Path, engine: Path, model: Path, tmp_path: Path) -> None:
    """Its connection is accepted, and its request not yet read: it used to be cut off, and a developer saw 502."""
    router = Router(router_venv, EngineOnSocket(engine, model, tmp_path), tmp_path)
    router.start()
    late = UnixConnection(router.socket)
    try:
        late.connect()
        assert router.developer.request("GET", "/health").status == 503  # so that the one before is accepted, too
        assert router.process is not None
        router.process.send_signal(signal.SIGTERM)
        wait_for("it stops", lambda: "Shutting down" in router.log)
        late.request("GET", "/health")
        assert late.getresponse().status == 503, "there is no engine here"
        router.process.wait(PATIENCE)
    finally:
        late.close()
        router.stop()
