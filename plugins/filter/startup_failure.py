# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that find the cause of a failed start in a journal, over the decisions in plugin_utils/_startup.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.plugin_utils import _startup

DOCUMENTATION = r"""
name: startup_failure
short_description: Say why llama-server did not start
version_added: 0.1.0
description:
  - Finds the cause of a failed start in the journal, and says it in a sentence with what to do.
  - Where the cause is unknown, gives the last lines that say something.
  - When the journal has several starts, the latest one with a known cause counts.
options:
  _input:
    description: What C(journalctl --unit) printed.
    type: str
    required: true
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Say why it does not start
  ansible.builtin.fail:
    msg: "{{ journal.stdout | slm.copilot.startup_failure }}"
"""

RETURN = r"""
_value:
  description: The cause and what to do.
  type: str
"""


def _filter(name: str, function: Callable[..., str]) -> Callable[..., str]:
    def filtered(*texts: Any) -> str:
        if not all(isinstance(text, str) for text in texts):
            raise AnsibleFilterError(f"{name}: what programs printed must be texts")
        return function(*texts)

    return filtered


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "startup_failure": _filter("startup_failure", _startup.startup_failure),
            "gateway_failure": _filter("gateway_failure", _startup.gateway_failure),
        }
