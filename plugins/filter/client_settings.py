# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter that gives configurations of clients, over the functions in module_utils/_clients/programs.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._clients.folders import parse_models
from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import Access, Endpoint
from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import client_settings as settings
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

DOCUMENTATION = r"""
name: client_settings
short_description: Give configurations of clients for an endpoint
version_added: 0.1.0
description:
  - Gives the files that developers' programs need, from aider to the OpenAI SDK, for C(~/slm-copilot) on a developer's machine.
    Most of them hold the key.
options:
  _input:
    description: The endpoint, with C(name), C(url) and C(models), which have C(name), C(context_size), and C(fim_only) for one
      that completes what is typed and does not chat. Programs begin with the first of the others.
    type: dict
    required: true
  key:
    description: The key.
    type: str
    required: true
  ca:
    description: CA certificates in PEM form. Empty for a CA that systems trust anyway.
    type: str
    default: ""
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
files: >-
  {{ {'name': 'copilot-1', 'url': 'https://192.0.2.10:8443/v1', 'models': [{'name': 'devstral-small-2', 'context_size': 32768}]}
     | slm.copilot.client_settings(key=copilot_key) }}
"""

RETURN = r"""
_value:
  description: The content of each file, by its path.
  type: dict
"""


def client_settings(endpoint: Any, key: str, ca: str = "") -> dict[str, str]:
    fields = ("models", "name", "url")
    if not isinstance(endpoint, Mapping) or tuple(sorted(endpoint)) != fields:
        raise AnsibleFilterError(f"client_settings: must be given an endpoint as a dictionary with {', '.join(fields)}")
    try:
        models = parse_models(endpoint["models"], "endpoint")
    except CopilotError as error:
        raise AnsibleFilterError(f"client_settings: {error}") from error
    return settings(Access(Endpoint(endpoint["name"], endpoint["url"], models), str(key), str(ca)))


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"client_settings": client_settings}
