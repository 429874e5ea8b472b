#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cmake_build
short_description: Compile a cmake project, with progress on the terminal
version_added: 0.1.0
description:
  - Configures a project with cmake and compiles targets of it with Ninja, as an unprivileged user.
  - While it runs, a line with the percentage, the rate and the time left is shown at least every 15 seconds.
  - A build that was cut off goes on where it stopped. A second run against the same build directory waits for the first.
requirements:
  - cmake, ninja and a compiler on the host
options:
  source_dir:
    description: Directory of the project's C(CMakeLists.txt).
    type: path
    required: true
  build_dir:
    description: Directory for what the build makes. It must belong to O(user).
    type: path
    required: true
  log_dir:
    description:
      - Directory for C(build.log), which keeps the output, and C(.lock), which keeps a second run waiting.
      - Nobody but the account that runs the module may write to it. O(build_dir) may be inside.
    type: path
    required: true
  options:
    description: cmake cache variables.
    type: dict
    default: {}
  targets:
    description: What to compile.
    type: list
    elements: str
    required: true
  jobs:
    description:
      - How many compiler processes run at once. 0 means one for each CPU.
      - There are never more than the CPUs, and never more than free memory allows (1536 MiB for each).
    type: int
    default: 0
  user:
    description: Who compiles.
    type: str
    required: true
extends_documentation_fragment:
  - slm.copilot.long_job
attributes:
  check_mode:
    support: partial
    description: Whether the module runs in check mode.
    details: Says that it would compile, without a look at what is up to date.
  diff_mode:
    support: none
    description: A build has no diff.
  idempotent:
    support: full
    description: Changes nothing when all targets are up to date.
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Compile llama-server
  slm.copilot.cmake_build:
    source_dir: /var/cache/slm-copilot/build/tree/source
    build_dir: /var/cache/slm-copilot/build/tree
    log_dir: /var/cache/slm-copilot/build
    options:
      CMAKE_BUILD_TYPE: Release
    targets: [llama-server]
    user: slm-copilot-build
"""

RETURN = r"""
jobs:
  description: How many compiler processes ran at once.
  returned: success
  type: int
  sample: 2
seconds:
  description: How long configuring and compiling took, in seconds.
  returned: success
  type: float
  sample: 634.2
compiler:
  description: The C++ compiler, as cmake found it.
  returned: success
  type: str
  sample: GNU 12.2.0
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._engine.cmake import build


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source_dir": {"type": "path", "required": True},
            "build_dir": {"type": "path", "required": True},
            "log_dir": {"type": "path", "required": True},
            "options": {"type": "dict", "default": {}},
            "targets": {"type": "list", "elements": "str", "required": True},
            "jobs": {"type": "int", "default": 0},
            "user": {"type": "str", "required": True},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        module.exit_json(**build(module.params, ProgressFile(module.params["progress_file"])))
    except (CopilotError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
