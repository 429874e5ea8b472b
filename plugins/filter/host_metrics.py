# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter about the metrics of a host, over the decisions in plugin_utils/_textfile.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._textfile import host_metrics

DOCUMENTATION = r"""
name: host_metrics
short_description: Write what a run knows of a host for Prometheus' node exporter
version_added: 0.1.0
description:
  - Returns the content of a file for the textfile collector. It says the same until something changes.
options:
  _input:
    description:
      - C(info), words about the host by name; C(ends), when certificates and lists of revoked ones end, by name; C(plan), memory
        in MiB by part; C(tuning), what the module M(slm.copilot.model_tune_info) returns of models measured as they are.
    type: dict
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
content: >-
  {{ {'info': {'mode': 'standalone'}, 'ends': {'server': '2029-02-28T15:10:24Z'}, 'plan': {'weights': 13669}, 'tuning': {}}
     | slm.copilot.host_metrics }}
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


def _host_metrics(known: Mapping[str, Any]) -> str:
    try:
        return host_metrics(known)
    except CopilotError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"host_metrics": _host_metrics}
