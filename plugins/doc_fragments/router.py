# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of modules that speak to a llama-server that is a router of several models."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description: The server, as C(http://127.0.0.1:8444) behind a gateway.
    type: str
    required: true
  api_key_file:
    description: File of llama-server's keys on the host, of which the first counts.
    type: path
    required: true
  connect_to:
    description: Address to connect to, where it is another than that of the name in O(url).
    type: str
  ca_path:
    description: What the certificate is verified by, in PEM, a CA's or the server's own. By default the system's certificates.
    type: path
"""
