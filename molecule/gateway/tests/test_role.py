# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role: what it takes up, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from conftest import Client
from testinfra.host import Host

UNIT = "slm-copilot-gateway"
CONFIG = "/etc/slm-copilot/haproxy.cfg"


def worker(server: Host) -> str:
    return server.check_output(f"systemctl show --property=ExecReload {UNIT} | grep -o 'start_time=\\[[^]]*' | tail -1")


def test_a_run_that_was_cut_off_before_the_reload_is_made_good(server: Host, converge: Callable[..., str]) -> None:
    before = worker(server)
    server.check_output(f"touch {CONFIG}")  # as new as if a run had just written it
    assert re.search(r"changed=1 .*failed=0", converge()), "the reload is the one change"
    after = worker(server)
    assert after != before
    assert re.search(r"changed=0 .*failed=0", converge())
    assert worker(server) == after


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        pytest.param({"gateway_upstream": "10.0.0.1:4000"}, "127.0.0.1 and a port", id="keys in the clear"),
        pytest.param({"gateway_local_server": "127.0.0.1:8444"}, "give both or neither", id="no key of its own"),
        pytest.param({"gateway_paths": ["v1/models"]}, '"v1/models"', id="path without a slash"),
        pytest.param({"gateway_admin_networks": ["everyone"]}, '"everyone"', id="network that is none"),
        pytest.param({"gateway_timeout": 0}, "gateway_timeout must be", id="no time"),
        pytest.param({"gateway_client_verify": "required"}, "gateway_client_ca_path is empty", id="no CA for clients"),
        pytest.param(
            {"gateway_client_verify": "optional", "gateway_client_ca_path": "/etc/none.pem"},
            "/etc/none.pem",
            id="what HAProxy refuses",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(
    server: Host, converge: Callable[..., str], variables: dict[str, object], told: str
) -> None:
    before = server.check_output(f"sha256sum {CONFIG}")
    assert told in converge(**variables)
    assert server.check_output(f"sha256sum {CONFIG}") == before


def test_a_port_that_is_taken_is_named(team: Client, converge: Callable[..., str]) -> None:
    said = converge(gateway_metrics_port=8444)  # llama-server's
    assert "HAProxy could not be restarted" in said
    assert "cannot bind socket (Address already in use) for [127.0.0.1:8444]" in said
    assert "failed=0" in converge()
    assert team.models().status == 200
