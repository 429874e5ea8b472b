# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Client connections: over Unix sockets, and over TLS with verification, always."""

from __future__ import annotations

import http.client
import os
import socket
import ssl

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


def tls_context(ca_path: str | None) -> ssl.SSLContext:
    """Returns a context that verifies, against ``ca_path`` (a file or a directory) when it is given, else as the system does.

    :raises CopilotError: when ``ca_path`` cannot be used.
    """
    try:
        folder = ca_path if ca_path and os.path.isdir(ca_path) else None
        context = ssl.create_default_context(cafile=None if folder else ca_path, capath=folder)
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise CopilotError(
            f"ca_path (or SSL_CERT_FILE, REQUESTS_CA_BUNDLE) is {ca_path}: it cannot be used ({reason}). "
            "Give a file with CA certificates in PEM."
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket.

    :param timeout: seconds without a byte after which it gives up.
    """

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
