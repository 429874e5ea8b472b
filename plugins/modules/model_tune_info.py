#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_tune_info
short_description: Read the results of M(slm.copilot.model_tune)
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the file with measurements on the host, and returns the settings that are valid for the current models. Measurements of
    another file, engine or processor are ignored, with the reason.
extends_documentation_fragment:
  - slm.copilot.read_only
  - slm.copilot.tuning
options:
  models:
    description: Paths of the GGUF files on the host, by model name.
    type: dict
    required: true
seealso:
  - module: slm.copilot.model_tune
"""

EXAMPLES = r"""
- name: Read the measurements
  slm.copilot.model_tune_info:
    path: /etc/slm-copilot/tuning.json
    models:
      devstral-small-2: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
    engine_dir: /opt/slm-copilot/llama.cpp/current
    cpu: "{{ host.cpu }}"
  register: tuned
"""

RETURN = r"""
settings:
  description: The fastest settings of each model with a valid measurement.
  returned: success
  type: dict
  sample: {"devstral-small-2": {"threads": 16, "threads_batch": 32, "ubatch_size": 512, "flash_attention": "on",
    "cache_type_k": "q8_0", "cache_type_v": "q8_0", "numa": "off", "load_mode": "mmap"}}
ignored:
  description: Why a model has no valid measurement.
  returned: success
  type: dict
  sample: {"mistral-7b": "the figures of mistral-7b are of another engine: run the playbook tune again"}
tuning:
  description: All stored results, including those that are no longer valid.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.store import (
    holding,
    present_identity,
    read_entries,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "engine_dir": {"type": "path", "required": True},
            "cpu": {"type": "dict", "required": True},
            "models": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    entries = read_entries(params["path"])
    settings, ignored = {}, {}
    for name, model in params["models"].items():
        try:
            found, reason = holding(entries, name, present_identity(model, params["engine_dir"], params["cpu"]))
        except CopilotError as error:  # a model or an engine that is not there yet
            found, reason = {}, str(error)
        except KeyError as error:
            module.fail_json(msg=f"cpu has no {error}: give the cpu dictionary of slm.copilot.cpu_info.")
        if found:
            settings[name] = found
        else:
            ignored[name] = reason
    module.exit_json(changed=False, settings=settings, ignored=ignored, tuning=entries)


if __name__ == "__main__":
    main()
