# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""TLS is always verified, by the CAs that a file or the system has."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import tls_context


@pytest.mark.parametrize("before", [b"", "# Autorité de la société\n".encode(), b"\xe9 latin\n", b"\xef\xbb\xbf# BOM\r\n"])
def test_comments_beside_a_ca_may_be_of_any_bytes(certificates: Path, before: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(before + (certificates / "ca.pem").read_bytes())
    context = tls_context(str(path))
    assert [one["subject"] for one in context.get_ca_certs()] == [((("commonName", "ca"),),)]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("content", [b"nothing", None], ids=["no certificate", "no file"])
def test_what_holds_no_ca_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_bytes(content)
    with pytest.raises(CopilotError, match=r"it cannot be used \(.+\)\. Give a file with CA certificates"):
        tls_context(str(path))
