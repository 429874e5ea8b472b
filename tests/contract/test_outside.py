# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service speaks to backends and to nobody else."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._litellm import litellm_config
from rig import FaultProxy, Member, Service

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


def test_no_connection_but_to_backends(
    litellm_venv: Path, proxies: list[FaultProxy], members: list[Member], tmp_path: Path
) -> None:
    log, site = tmp_path / "addresses", tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WATCH.format(log=str(log)))
    service = Service(litellm_venv, litellm_config({"request_timeout": 3600}), tmp_path, loop="asyncio", site=site)
    service.pool(*members)
    service.start()
    try:
        service.settle("a", "b", "c")
        assert service.chat(2).status == 200
        assert service.chat(2, stream=True).status == 200
        assert service.chat(model="unknown").status == 404
    finally:
        service.stop()
    lines = log.read_text().splitlines()
    assert any(f"'127.0.0.1', {proxies[0].port}" in line for line in lines), "nothing was noted at all"
    assert [line for line in lines if "127.0.0.1" not in line] == []
