# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._server.report import (
    backends_of,
    certificate_end,
    file_digests,
    fleet_table,
    unit_states,
)

SERVER = {
    "mode": "backend",
    "endpoint": "https://192.0.2.1:8443/v1",
    "models": [{"name": "tiny", "context_size": 8192, "slots": 2}],
}
MORE = [{"name": "big", "context_size": 4096, "slots": 1}, {"name": "tiny", "context_size": 8192, "slots": 4}]


@pytest.mark.parametrize(
    ("state", "backends"),
    [
        pytest.param(
            json.dumps({"backends": [{"id": "a", "zone": "madrid", "health": "ready", "served": 7, "detail": None}]}),
            [{"id": "a", "zone": "madrid", "health": "ready", "detail": ""}],
            id="one",
        ),
        pytest.param("", [], id="no file"),
        pytest.param("{", [], id="cut off"),
        pytest.param('{"backends": [1]}', [], id="another form"),
    ],
)
def test_backends(state: str, backends: list[dict[str, str]]) -> None:
    assert backends_of(state) == backends


@pytest.mark.parametrize(
    ("output", "end"),
    [
        pytest.param("notAfter=Feb 25 12:00:00 2029 GMT\n", "2029-02-25T12:00:00Z", id="a date"),
        pytest.param("notAfter=Feb  5 01:02:03 2029 GMT\n", "2029-02-05T01:02:03Z", id="a day with one digit"),
        pytest.param("", "", id="no certificate"),
    ],
)
def test_certificate_end(output: str, end: str) -> None:
    assert certificate_end(output) == end


def test_files_have_the_names_that_people_know() -> None:
    contents = {"/etc/systemd/system/a.service": b"x", "/etc/systemd/system/a.service.d/limits.conf": b"y", "/etc/b.nft": b"x"}
    digests = file_digests(contents)
    assert list(digests) == ["b.nft", "a.service", "a.service.d/limits.conf"]
    assert digests["b.nft"] == digests["a.service"] != digests["a.service.d/limits.conf"]


def test_unit_states() -> None:
    assert unit_states(["a.service", "b.service"], "active\nfailed\n") == {"a.service": "active", "b.service": "failed"}
    assert unit_states(["a.service", "b.service"], "active\n") == {}


def test_the_table_has_a_line_for_each_host() -> None:
    reports = {
        "madrid-1": {
            "report": {**SERVER, "mode": "balancer", "models": MORE},
            "services": {"slm-copilot-proxy.service": "active"},
            "backends": [{"id": "paris-1", "health": "ready"}, {"id": "berlin-1", "health": "down"}],
            "certificate_end": "2029-02-25T12:00:00Z",
        },
        "paris-1": {"report": SERVER, "services": {"slm-copilot.service": "failed"}, "certificate_end": ""},
        "berlin-1": {"unreachable": True, "msg": "no route\nto host"},
        "oslo-1": {"report": {}},
    }
    lines = [
        "host      mode      endpoint                   model      slots               certificate until  services            "
        "backends",
        "madrid-1  balancer  https://192.0.2.1:8443/v1  big, tiny  1 x 4096, 4 x 8192  2029-02-25         active              "
        "1/2 ready (berlin-1 down)",
        "paris-1   backend   https://192.0.2.1:8443/v1  tiny       2 x 8192            none               slm-copilot failed",
        f"berlin-1  unknown   {' ' * 97}no route to host",
        f"oslo-1    unknown   {' ' * 97}slm.copilot.site has not made a report here yet",
    ]
    assert fleet_table(reports).splitlines() == lines
