#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_state
short_description: Load and unload the models of a host
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Controls llama-server in router mode. Loads or unloads models, changes the context size of one, or reloads the presets.
  - Unloading a model aborts its in-flight requests.
extends_documentation_fragment:
  - slm.copilot.router
options:
  models:
    description:
      - Names of the models in the API. Empty means all of them.
      - A pinned model cannot be unloaded. If all models are unloaded, pinned ones are skipped.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(loaded) and V(unloaded) wait until the state is reached. A sleeping model counts as loaded.
      - V(reloaded) reloads the presets. Models whose settings changed are unloaded; the others keep running.
    type: str
    choices: [loaded, unloaded, reloaded]
    default: loaded
  context_size:
    description:
      - New context of each slot in tokens for the one model in O(models). A loaded model is unloaded, so that the next request
        loads it with the new context.
      - The change is written to O(presets_path), and lasts until that file is written again. O(state) is ignored.
    type: int
  presets_path:
    description: Presets file of llama-server. Required with O(context_size).
    type: path
  timeout:
    description: Maximum time for loading or unloading a model, in seconds.
    type: int
    default: 900
attributes:
  check_mode:
    support: full
    description: Reports what would be done.
  diff_mode:
    support: full
    description: Shows the states of the models, or the presets.
  idempotent:
    support: full
    description: Does nothing if the state is already reached.
seealso:
  - module: slm.copilot.model_state_info
"""

EXAMPLES = r"""
- name: Load a model before developers start work
  slm.copilot.model_state:
    socket: /run/slm-copilot/llama-server.sock
    models: [devstral-small-2]

- name: Unload all models
  slm.copilot.model_state:
    socket: /run/slm-copilot/llama-server.sock
    state: unloaded

- name: Change the context size of one model
  slm.copilot.model_state:
    socket: /run/slm-copilot/llama-server.sock
    models: [mistral-7b]
    context_size: 65536
    presets_path: /etc/slm-copilot/models.ini
"""

RETURN = r"""
changed_models:
  description: Models that were loaded, unloaded or changed.
  returned: success
  type: list
  elements: str
  sample: [devstral-small-2]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write
from ansible_collections.slm.copilot.plugins.module_utils._model.presets import with_context
from ansible_collections.slm.copilot.plugins.module_utils._server.router import Router, differences, router_at, to_change


def change_state(module: AnsibleModule, router: Router) -> dict[str, Any]:
    state = module.params["state"]
    models = router.models()
    targets = to_change(models, module.params["models"], state)
    before = {one.name: one.status for one in targets}
    for one in () if module.check_mode else targets:
        (router.load if state == "loaded" else router.unload)(one.name)
    return {
        "changed": bool(targets),
        "changed_models": list(before),
        "diff": {"before": before, "after": dict.fromkeys(before, state)},
    }


def reload(module: AnsibleModule, router: Router) -> dict[str, Any]:
    if module.check_mode:
        return {"changed": False, "changed_models": []}
    before = router.models()
    changed = differences(before, router.models(reload=True))
    return {"changed": bool(changed), "changed_models": changed}


def change_context(module: AnsibleModule, router: Router) -> dict[str, Any]:
    path, names = module.params["presets_path"], module.params["models"]
    if len(names) != 1:
        raise CopilotError(f"models has {len(names)} names: context_size is for one model.")
    router.model(names[0])
    with open(path, encoding="utf-8") as file:
        before = file.read()
    after, _slots = with_context(before, names[0], module.params["context_size"])
    if after != before and not module.check_mode:
        write(path, after)
    if not module.check_mode:
        router.models(reload=True)
    changed = after != before
    diff = {"before_header": path, "after_header": path, "before": before, "after": after}
    return {"changed": changed, "changed_models": names if changed else [], "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "models": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["loaded", "unloaded", "reloaded"], "default": "loaded"},
            "context_size": {"type": "int"},
            "presets_path": {"type": "path"},
            "timeout": {"type": "int", "default": 900},
        },
        required_by={"context_size": ["presets_path"]},
        supports_check_mode=True,
    )
    params = module.params
    try:
        router = router_at(params["socket"], params["timeout"])
        if params["context_size"] is not None:
            module.exit_json(**change_context(module, router))
        act = reload if params["state"] == "reloaded" else change_state
        module.exit_json(**act(module, router))
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or params['presets_path']} cannot be used: {error.strerror}.")


if __name__ == "__main__":
    main()
