# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses with secrets in them."""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import (
    UNREADABLE,
    request_parts,
    server_url,
    shown_url,
    url_fault,
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param(
            "https://user:secret@example.com:8443/a/b.gguf?key=secret#secret", "https://example.com:8443/a/b.gguf", id="secrets"
        ),
        pytest.param("http://example.com/", "http://example.com/", id="plain"),
        pytest.param("https://[2001:db8::1]:8443/m.gguf", "https://[2001:db8::1]:8443/m.gguf", id="IPv6"),
        pytest.param("http://[::1/secret", UNREADABLE, id="half an IPv6 address"),
        pytest.param("https://user:sec/ret@example.com/m.gguf", UNREADABLE, id="slash in the password"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        pytest.param("http://a/b?c=%20d&e=f", ("http://a/b?c=%20d&e=f", None), id="plain"),
        pytest.param("https://u:p%40q@a:1/b#c", ("https://a:1/b", "Basic dTpwQHE="), id="user and password"),
        pytest.param("https://token@a/b", ("https://a/b", "Basic dG9rZW46"), id="user alone"),
        pytest.param("http://a/modèle.gguf", ("http://a/mod%C3%A8le.gguf", None), id="accent"),
    ],
)
def test_what_is_sent(url: str, sent: tuple[str, str | None]) -> None:
    assert url_fault(url) is None
    assert request_parts(url) == sent


@pytest.mark.parametrize(
    ("host", "url"),
    [
        pytest.param("2001:db8::10", "https://[2001:db8::10]:8443", id="IPv6"),
        pytest.param("192.0.2.10", "https://192.0.2.10:8443", id="IPv4"),
        pytest.param("copilot.example.com", "https://copilot.example.com:8443", id="name"),
    ],
)
def test_a_server_has_a_url_whatever_its_address(host: str, url: str) -> None:
    assert server_url(host, 8443) == url
    assert url_fault(url) is None
