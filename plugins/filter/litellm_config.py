# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter that gives LiteLLM's configuration, over the decisions in plugin_utils/_litellm.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils import _litellm

DOCUMENTATION = r"""
name: litellm_config
short_description: Give the content of LiteLLM's config.yaml
version_added: 0.1.0
description:
  - Switches off what LiteLLM would do itself about choosing, retrying and watching backends, since the router does it.
  - Says nothing of models, backends and keys, which the router reads from files of its own while it runs.
options:
  _input:
    description:
      - The settings of the pool, of which C(request_timeout) counts, the seconds that a backend may be silent, from 1 to
        604800. Fails when it is something else.
    type: dict
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
config: "{{ {'request_timeout': 3600} | slm.copilot.litellm_config }}"
"""

RETURN = r"""
_value:
  description: The configuration, to be written as YAML.
  type: dict
"""


def litellm_config(settings: dict[str, Any]) -> dict[str, Any]:
    try:
        return _litellm.litellm_config(settings)
    except CopilotError as error:
        raise AnsibleFilterError(f"litellm_lb_{error}") from error


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"litellm_config": litellm_config}
