# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about certificates, over the decisions in module_utils/_access/certificates.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._access.authority import key_opens
from ansible_collections.slm.copilot.plugins.module_utils._access.certificates import (
    acme_failure,
    provided_problems,
    reissue_reason,
    stable_ipv6,
    subject_names,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

DOCUMENTATION = r"""
name: certificate_names
short_description: Turn the names and addresses of a host into subject alternative names
version_added: 0.1.0
description:
  - Leaves out what can be neither a host name nor an address, link-local and loopback addresses, and repetitions.
  - C(localhost) and C(127.0.0.1) are always there. The result is sorted.
options:
  _input:
    description: Names and addresses. Empty ones are left out.
    type: list
    elements: str
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
names: "{{ ['madrid-1', '100.64.1.5', 'fe80::1'] | slm.copilot.certificate_names }}"
# => ['DNS:localhost', 'DNS:madrid-1', 'IP:100.64.1.5', 'IP:127.0.0.1']
"""

RETURN = r"""
_value:
  description: Subject alternative names, with their kind before each.
  type: list
  elements: str
"""


def ca_key_opens(path: str, *passphrases: str) -> bool:
    try:
        return key_opens(path, *passphrases)
    except CopilotError as error:
        raise AnsibleFilterError(f"ca_key_opens: {error}") from error


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "certificate_names": subject_names,
            "certificate_reissue_reason": reissue_reason,
            "certificate_problems": provided_problems,
            "acme_failure": acme_failure,
            "stable_ipv6": stable_ipv6,
            "ca_key_opens": ca_key_opens,
        }
