# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gateway answers over IPv4 and IPv6, and knows who is near over both."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_rig import Gateway
from rig import PATIENCE


@pytest.fixture(scope="module")
def lonely(fleet_ca: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with the address that it takes by default where there is IPv6, and with nothing behind it."""
    work = tmp_path_factory.mktemp("addresses")
    gateway = Gateway(work, fleet_ca, gateway_bind="::", gateway_restart_wait=1, gateway_upstream=f"unix@{work}/none.sock")
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v1/models", 503, id="developer"),
        pytest.param("/slots", 503, id="admin_on_the_host_itself"),
        pytest.param("/ui", 404, id="not_listed"),
    ],
)
def test_it_answers_over_both(lonely: Gateway, address: str, path: str, status: int) -> None:
    developer = lonely.developer()
    context = developer.context()
    context.check_hostname = False  # the rig's certificate is for 127.0.0.1; whose it is, is checked
    connection = http.client.HTTPSConnection(address, lonely.port, timeout=PATIENCE, context=context)
    connection.request("GET", path, headers={"Authorization": f"Bearer {developer.key}"})
    assert connection.getresponse().status == status
    connection.close()
