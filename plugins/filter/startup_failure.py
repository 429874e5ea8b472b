# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the cause of a failed start in a journal."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils import _startup

DOCUMENTATION = r"""
name: startup_failure
short_description: Say why llama-server did not start
version_added: 0.1.0
description:
  - Finds the cause of a failed start in the journal, and says it in a sentence with what to do.
  - Where the cause is unknown, gives the last lines that say something.
  - When the journal has several starts, the latest one with a known cause counts.
positional: _input, listening
options:
  _input:
    description: What C(journalctl --unit) printed.
    type: str
    required: true
  listening:
    description:
      - What C(ss -ltnp) printed on the host.
      - llama-server reports a certificate it cannot use like a port in use. With this the two are told apart.
    type: str
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Say why it does not start
  ansible.builtin.fail:
    msg: "{{ journal.stdout | slm.copilot.startup_failure(listening=sockets.stdout) }}"
"""

RETURN = r"""
_value:
  description: The cause and what to do.
  type: str
"""


def startup_failure(journal: Any, listening: Any = None) -> str:
    if not isinstance(journal, str) or not isinstance(listening, (str, type(None))):
        raise AnsibleFilterError("startup_failure: the journal, and listening where it is given, must be texts")
    return _startup.startup_failure(journal, listening)


class FilterModule:
    """The filter of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"startup_failure": startup_failure}
