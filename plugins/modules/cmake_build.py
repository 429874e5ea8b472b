#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cmake_build
short_description: Compile a CMake project and show progress
version_added: 0.1.0
description:
  - Configures a project with CMake and compiles targets of it with Ninja, as an unprivileged user.
  - Progress is shown at least every 15 seconds, with the percentage, the rate and the remaining time.
  - An interrupted build is resumed. A second run with the same build directory waits for the first one.
requirements:
  - cmake, ninja and a compiler on the host
options:
  source_dir:
    description: Directory with the project's C(CMakeLists.txt).
    type: path
    required: true
  build_dir:
    description: Build directory. It must belong to O(user).
    type: path
    required: true
  log_dir:
    description:
      - Directory for C(build.log) with the output, and the lock file C(.lock).
      - Only the account that runs the module may have write access to it. O(build_dir) may be inside.
    type: path
    required: true
  options:
    description: CMake cache variables.
    type: dict
    default: {}
  targets:
    description: Targets to compile.
    type: list
    elements: str
    required: true
  jobs:
    description:
      - Number of parallel compiler processes. 0 means one for each CPU.
      - It is limited to the number of CPUs and by free memory (1536 MiB for each process).
    type: int
    default: 0
  user:
    description: Account that compiles.
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
    description: Changes nothing if all targets are up to date.
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
  description: Number of parallel compiler processes.
  returned: success
  type: int
  sample: 2
seconds:
  description: Duration of configuring and compiling in seconds.
  returned: success
  type: float
  sample: 634.2
compiler:
  description: The C++ compiler, as reported by CMake.
  returned: success
  type: str
  sample: GNU 12.2.0
"""

from pathlib import Path

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
    params = module.params
    try:
        done = build(
            params["source_dir"],
            Path(params["build_dir"]),
            Path(params["log_dir"]),
            params["user"],
            params["targets"],
            params["options"],
            params["jobs"],
            ProgressFile(params["progress_file"]),
        )
    except (CopilotError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
