# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role refuses, before it changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateway_rig import configure
from rig import certificate

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "keys-in-the-clear": ({"gateway_upstream": "10.0.0.1:4000"}, "127.0.0.1 and a port"),
    "no-key-of-its-own": ({"gateway_local_server": "unix@/run/slm-copilot/llama-server.sock"}, "give both or neither"),
    "path-without-a-slash": ({"gateway_paths": ["v1/models"]}, 'has "v1/models": a path begins with a slash'),
    "network-that-is-none": ({"gateway_admin_networks": ["everyone"]}, 'has "everyone": a path'),
    "no-time": ({"gateway_timeout": 0}, "gateway_timeout must be"),
    "all-for-one": ({"gateway_address_connections": 512}, "one address could shut out all others"),
    "no-network": ({"gateway_unlimited_networks": ["lb.example.com"]}, 'has "lb.example.com": a path'),
    "no-CA-for-clients": ({"gateway_client_verify": "required"}, "gateway_client_ca_path is empty"),
    "what-HAProxy-refuses": ({"gateway_client_verify": "optional", "gateway_client_ca_path": "/etc/none.pem"}, "/etc/none.pem"),
}
BEFORE = "what worked"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("refused")
    for name in REFUSED:
        folder = work / name
        folder.mkdir()
        _chain, key = certificate(folder, "server")
        key.replace(folder / "server-key.pem")
        (folder / "haproxy.cfg").write_text(BEFORE)
    return work


@pytest.fixture(scope="module")
def told(work: Path) -> dict[str, str]:
    """What was said of each, by one run for all."""
    return configure(work, {name: variables for name, (variables, _expected) in REFUSED.items()})


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_cannot_work_are_refused(work: Path, told: dict[str, str], name: str) -> None:
    _variables, expected = REFUSED[name]
    assert expected in told[name]
    assert (work / name / "haproxy.cfg").read_text() == BEFORE
