# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet as one HTML file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._fleet_page import fleet_page

MADE = "2026-11-26T12:00:00Z"
REPORT = {
    "mode": "balancer",
    "endpoint": "https://192.0.2.1:8443/v1",
    "models": [{"name": "tiny", "slots": 2, "context_size": 8192}],
    "engine": "0.5.0",
    "warnings": [],
}
WELL: dict[str, Any] = {
    "report": REPORT,
    "services": {"slm-copilot-proxy.service": "active"},
    "backends": [{"id": "paris-1", "health": "ready", "detail": ""}],
    "certificate_end": "2029-02-25T12:00:00Z",
}


class Reader(HTMLParser):
    """Reads the page: texts of each element with the class ``bad``, and all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip() and self.tags[-1][1].get("class") == "bad":
            self.bad.append(data)
            self.tags.append(("", {}))


def test_a_fleet_that_is_well() -> None:
    page = fleet_page({"madrid-1": WELL}, MADE)
    assert "All is well. Seen at 2026-11-26T12:00:00Z." in page
    assert not Reader(page).bad
    for text in (
        "balancer",
        "https://192.0.2.1:8443/v1",
        "tiny, 2 slots of 8192 tokens",
        "0.5.0",
        "until 2029-02-25",
        "backend paris-1",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        pytest.param(WELL | {"services": {"slm-copilot.service": "failed"}}, "failed", id="a service"),
        pytest.param(WELL | {"services": {}}, "unknown", id="no services"),
        pytest.param(
            WELL | {"backends": [{"id": "paris-1", "health": "down", "detail": "no route"}]}, "down: no route", id="a backend"
        ),
        pytest.param(WELL | {"certificate_end": "2026-12-09T12:00:00Z"}, "until 2026-12-09", id="a certificate near its end"),
        pytest.param(WELL | {"certificate_end": ""}, "none", id="no certificate"),
        pytest.param(WELL | {"report": REPORT | {"warnings": ["little memory"]}}, "little memory", id="a warning"),
        pytest.param({"unreachable": True, "msg": "no route\nto host"}, "no route to host", id="a host that is away"),
        pytest.param({"report": {}}, "slm.copilot.site has not made a report here yet", id="a host that is not set up"),
    ],
)
def test_what_needs_somebody_is_seen(result: dict[str, Any], shown: str) -> None:
    page = fleet_page({"madrid-1": WELL, "oslo-1": result}, MADE)
    assert Reader(page).bad == ["Look at oslo-1.", shown]


def test_a_certificate_with_two_weeks_is_well() -> None:
    assert "All is well." in fleet_page({"a": WELL | {"certificate_end": "2026-12-10T00:00:00Z"}}, MADE)


def test_what_hosts_say_is_text() -> None:
    page = fleet_page({"<b>": {"msg": '<script src="https://example.com/x.js"></script>'}}, MADE)
    assert {tag for tag, _attributes in Reader(page).tags} <= {
        "", "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "main", "section", "dl", "dt", "dd",
    }  # fmt: skip


def test_the_page_fetches_nothing_and_is_for_phones_and_the_dark() -> None:
    page = fleet_page({"madrid-1": WELL}, MADE)
    assert not re.search(r"url\(|@import|\bsrc=|\bhref=", page)
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page
