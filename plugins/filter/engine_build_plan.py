# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names an engine build and chooses its compile options."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan

DOCUMENTATION = r"""
name: engine_build_plan
short_description: Name an engine build and choose its compile options
version_added: 0.1.0
description:
  - Two hosts whose plans have the same C(id) can run the same compiled artifact.
positional: _input, host, extra_options
options:
  _input:
    description: The source. C(kind) is C(pypi), C(git) or C(archive), with C(version) and C(sha256), C(commit), or C(sha256).
    type: dict
    required: true
  host:
    description: C(architecture), C(distribution) and C(distribution_version) of the host.
    type: dict
    required: true
  extra_options:
    description: Further cmake cache variables, which win over the chosen ones.
    type: dict
    default: {}
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
plan: "{{ {'kind': 'git', 'commit': '0123456789abcdef0123456789abcdef01234567'}
          | slm.copilot.engine_build_plan({'architecture': 'x86_64', 'distribution': 'Debian', 'distribution_version': '12'}) }}"
"""

RETURN = r"""
_value:
  description: The C(id), C(version), C(artifact) name, C(platform), cmake C(options) and C(targets) of the build.
  type: dict
"""


def engine_build_plan(source: Any, host: Any, extra_options: Any = None) -> dict[str, Any]:
    try:
        return build_plan(source, host, extra_options or {})
    except CopilotError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"engine_build_plan": engine_build_plan}
