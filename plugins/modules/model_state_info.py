#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_state_info
short_description: Report which models of a host are loaded, and their in-flight requests
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Queries llama-server, in router mode with several models or with a single model. It does not load or wake any model.
extends_documentation_fragment:
  - slm.copilot.read_only
  - slm.copilot.router
seealso:
  - module: slm.copilot.model_state
"""

EXAMPLES = r"""
- name: Read the state of the models
  slm.copilot.model_state_info:
    socket: /run/slm-copilot/llama-server.sock
  register: found
"""

RETURN = r"""
models:
  description: The models, in llama-server's order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the model in the API.
      type: str
      sample: devstral-small-2
    status:
      description:
        - V(unloaded), V(loading), V(loaded), or V(sleeping), a loaded model whose memory was released because it was idle.
      type: str
      sample: loaded
    failed:
      description: Whether its last start failed.
      type: bool
      sample: false
    pinned:
      description: Whether the model is never unloaded.
      type: bool
      sample: false
    busy:
      description: Number of in-flight and queued requests.
      type: int
      sample: 1
    context_size:
      description: Context of each slot in tokens.
      type: int
      sample: 32768
    slots:
      description: Number of slots.
      type: int
      sample: 2
    idle_seconds:
      description: Seconds without a request after which the model is unloaded; 0 means never.
      type: int
      sample: 900
    path:
      description: Path of its file.
      type: str
      sample: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
busy:
  description: Number of requests that would be aborted if the model were stopped, by model.
  returned: success
  type: dict
  sample: {"devstral-small-2": 1}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server.router import interrupts, router_at


def main() -> None:
    module = AnsibleModule(argument_spec={"socket": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        models = router_at(module.params["socket"]).look()
    except CopilotError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, models=[one.as_dict() for one in models], busy=interrupts(models, []))


if __name__ == "__main__":
    main()
