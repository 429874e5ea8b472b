#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_plan
short_description: Plan the memory of llama-server before it starts
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the headers of models on the host and adds up the memory that llama-server needs for them with these settings. Reports
    whether it fits into the host's memory and, if not, the nearest settings that would fit. It starts and changes nothing.
  - The sum is an upper bound for the weights, the KV cache and recurrent state of every slot, context checkpoints, compute
    buffers, and the prompt cache. Weights count once, with and without C(mmap), since the kernel drops pages that it can read
    again.
  - A model is never planned with a longer context than it was trained for.
  - V(auto) means the largest that fits. First the context is chosen, up to the trained context, then the slots, up to 4, then the
    prompt cache, which gets the rest. While one is chosen, later ones count with two slots and a prompt cache for one
    conversation of full length, or with less if not even 4096 tokens would fit otherwise.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  path:
    description: Path of one model's GGUF file on the host. Exactly one of O(path) and O(models) is required.
    type: path
  draft_path:
    description: Path of the draft model's GGUF file on the host, for O(speculation=draft-simple) with O(path).
    type: path
  models:
    description:
      - Several models that llama-server loads and unloads in router mode, each in its own process.
      - When the maximum number of models is loaded, values that are V(auto) share the remaining memory equally.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the model in the result.
        type: str
        required: true
      path:
        description: Path of its GGUF file on the host.
        type: path
        required: true
      draft_path:
        description: Path of its draft model's GGUF file on the host.
        type: path
      pinned:
        description: Whether it is always loaded.
        type: bool
        default: false
      settings:
        description: Settings of this model that differ from the defaults, named like the options from O(slots) to O(load_mode).
        type: dict
        default: {}
  most_loaded:
    description: Maximum number of O(models) that are loaded at once, even if more would fit. 0 means as many as fit.
    type: int
    default: 0
  allow_missing:
    description:
      - Whether to return no plan instead of failing if a model file is missing.
      - Use it in check mode, when models are not downloaded yet.
    type: bool
    default: false
  host_memory_mib:
    description: Memory of the host in MiB. Defaults to the kernel's C(MemTotal).
    type: int
  reserve_mib:
    description: Memory for everything else on the host in MiB.
    type: int
    default: 2048
  slots:
    description: Number of slots (C(--parallel)), or V(auto).
    type: str
    default: "1"
  context_size:
    description: Context of each slot in tokens, or V(auto). C(--ctx-size) is this value times O(slots).
    type: str
    default: "32768"
  cache_type_k:
    description: Data type of the K cache (C(--cache-type-k)).
    type: str
    choices: [f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl]
    default: f16
  cache_type_v:
    description: Data type of the V cache (C(--cache-type-v)).
    type: str
    choices: [f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl]
    default: f16
  prompt_cache_mib:
    description: Size of the prompt cache in MiB (C(--cache-ram)), or V(auto). The default is llama-server's.
    type: str
    default: "8192"
  context_checkpoints:
    description:
      - Number of context checkpoints per slot (C(--ctx-checkpoints)). The default is llama-server's.
      - Only models with sliding-window or recurrent layers use them. For those they can take most of the memory.
    type: int
    default: 32
  ubatch:
    description: Physical batch size in tokens (C(--ubatch-size)).
    type: int
    default: 512
  flash_attention:
    description: Flash attention (C(--flash-attn)). Without it, buffers grow with heads times context times O(ubatch).
    type: str
    choices: [auto, 'on', 'off']
    default: auto
  load_mode:
    description: How weights are loaded (C(--load-mode)). With V(mmap+mlock) repacked weights stay in memory twice.
    type: str
    choices: [auto, none, mmap, mlock, mmap+mlock, dio]
    default: mmap
  speculation:
    description:
      - Methods of speculative decoding (C(--spec-type)), separated by commas, or V(off).
      - With V(draft-simple), O(draft_path) is required, and the module fails if the two models have different tokenizers.
      - V(draft-mtp) is dropped, with a warning, if the model's file has no layers that predict further tokens.
    type: str
    default: "off"
  save_slots:
    description:
      - Whether slots are saved while llama-server restarts (C(--slot-save-path)). One slot at a time is in memory twice.
      - It becomes V(false), with a warning, for several models, and for models with sliding-window or recurrent layers, which
        cannot continue from a saved slot, or use a draft model.
    type: bool
    default: false
  speed_path:
    description: File with the results of M(slm.copilot.host_speed). A missing file is ignored.
    type: path
seealso:
  - module: slm.copilot.gguf_info
"""

EXAMPLES = r"""
- name: Plan for one model with the largest prompt cache that fits
  slm.copilot.memory_plan:
    path: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
    slots: 2
    context_size: 32768
    prompt_cache_mib: auto
  register: planned

- name: Refuse settings that do not fit
  ansible.builtin.assert:
    that: planned.plan.fits
    fail_msg: "{{ planned.plan.explanation }}"

- name: Find out how many of several models can be loaded at once
  slm.copilot.memory_plan:
    models:
      - name: qwen2.5-coder-1.5b
        path: /var/lib/slm-copilot/models/qwen2.5-coder-1.5b-q8_0.gguf
        pinned: true
        settings: {context_size: 8192, prompt_cache_mib: 0}
      - name: devstral-small-2
        path: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
    context_size: auto
    prompt_cache_mib: 2048
"""

RETURN = r"""
plan:
  description: The plan. Null with O(allow_missing=true) if a model file is missing.
  returned: success
  type: dict
  contains:
    fits:
      description: Whether the host has enough memory; with several models, for each one beside the pinned ones.
      type: bool
      returned: always
      sample: true
    explanation:
      description: The sum in words and, if it does not fit, the nearest settings that would.
      type: str
      returned: always
      sample: "weights 13669 + KV cache 10240 (2 slots of 32768 tokens of 160 KiB) + compute 393 + prompt cache 5120 +
        reserve 2048 = 31470 MiB of 32000 MiB: fits, 530 MiB stay free."
    warnings:
      description: Requested settings that are not possible, such as a context longer than the model was trained for.
      type: list
      elements: str
      returned: always
      sample: []
    memory_max_mib:
      description:
        - C(MemoryMax) for the service in MiB. It is the total without the reserve plus a tenth (at least 512 MiB), as long as
          that leaves the host its reserve.
      type: int
      returned: always
      sample: 29952
    settings:
      description: The settings to use, with numbers in place of V(auto).
      type: dict
      returned: with O(path)
      sample: {"slots": 2, "context_size": 32768, "prompt_cache_mib": 5120}
    mib:
      description: Each part in MiB, rounded up.
      type: dict
      returned: with O(path)
      contains:
        weights:
          description: The model's tensors.
          type: int
          sample: 13669
        kv_cache:
          description: KV cache of all slots.
          type: int
          sample: 10240
        recurrent_state:
          description: State of the recurrent layers for all slots.
          type: int
          sample: 0
        checkpoints:
          description: Context checkpoints of all slots.
          type: int
          sample: 0
        compute:
          description: Compute buffers, the tokenizer, and the program itself.
          type: int
          sample: 393
        prompt_cache:
          description: The prompt cache.
          type: int
          sample: 5120
        saved_slot:
          description: One slot that is being saved or restored.
          type: int
          sample: 0
        drafts:
          description: The draft model with its KV cache, or the KV cache of the layers that draft.
          type: int
          sample: 0
        reserve:
          description: Memory for the rest of the host.
          type: int
          sample: 2048
        total:
          description: The sum.
          type: int
          sample: 31470
        host_memory:
          description: Memory of the host.
          type: int
          sample: 32000
    bytes:
      description: Each part in bytes, with the same names.
      type: dict
      returned: with O(path)
      sample: {"weights": 14332228608, "kv_cache": 10737418240, "total": 32997907456}
    kv_bytes_per_token:
      description: Size of one token in the KV cache in bytes, over all layers.
      type: int
      returned: with O(path)
      sample: 163840
    alternatives:
      description: If it does not fit, single changes that would make it fit, each as small as possible.
      type: list
      elements: dict
      returned: with O(path)
      sample: [{"context_size": 22016}, {"slots": 2}, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}]
    models:
      description:
        - Each model by name, with RV(plan.settings), RV(plan.mib) (whose total is the model's own, without the reserve),
          C(pinned), and C(fits), whether it fits beside the pinned ones.
      type: dict
      returned: with O(models)
      sample: {"devstral-small-2": {"pinned": false, "fits": true, "mib": {"total": 26350}, "settings": {"slots": 1}}}
    most_loaded:
      description: Number of models that can be loaded at once, whichever they are, including the pinned ones.
      type: int
      returned: with O(models)
      sample: 1
tools:
  description: Whether the model's chat template supports tools; with O(models), by model name.
  returned: when RV(plan) is not null
  type: raw
  sample: true
expected:
  description:
    - Expected speed of each model on this host, by name, or C(model) with O(path). Empty without O(speed_path).
    - C(prompt) and C(generated) are tokens per second, for a prompt of 512 tokens and for an answer. C(long_prompt_seconds) is
      the time for a prompt of 20,000 tokens. C(warm_turn_seconds) is the time for an answer of 256 tokens to 1024 new tokens in a
      conversation of 20,000 tokens.
  returned: when RV(plan) is not null
  type: dict
  sample: {"model": {"prompt": 61.2, "generated": 7.9, "long_prompt_seconds": 412.5, "warm_turn_seconds": 61.3}}
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.meminfo import memory_mib
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.plan import plan as plan_one
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import CHOICES
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.several import plan_models
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import CACHE_TYPES, OFF
from ansible_collections.slm.copilot.plugins.module_utils._model.speed import expected, read_speed

THE_MODEL = "model"  # what it is called where there is one, which has no name here
SETTINGS = {
    "slots": {"type": "str", "default": "1"},
    "context_size": {"type": "str", "default": "32768"},
    "cache_type_k": {"type": "str", "default": "f16", "choices": list(CACHE_TYPES)},
    "cache_type_v": {"type": "str", "default": "f16", "choices": list(CACHE_TYPES)},
    "prompt_cache_mib": {"type": "str", "default": "8192"},
    "context_checkpoints": {"type": "int", "default": 32},
    "ubatch": {"type": "int", "default": 512},
    "flash_attention": {"type": "str", "default": "auto", "choices": list(CHOICES["flash_attention"])},
    "load_mode": {"type": "str", "default": "mmap", "choices": list(CHOICES["load_mode"])},
    "speculation": {"type": "str", "default": OFF},
    "save_slots": {"type": "bool", "default": False},
}
MODEL = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "draft_path": {"type": "path"},
    "pinned": {"type": "bool", "default": False},
    "settings": {"type": "dict", "default": {}},
}


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Numbers where texts are numbers: an option that may be ``auto`` comes as a text."""
    return {name: int(value) if isinstance(value, str) and value.isdecimal() else value for name, value in given.items()}


def facts_of(model: dict[str, Any]) -> dict[str, Any]:
    """Returns the facts of a model, and those of its draft model."""
    facts, draft = _gguf.check(model["path"]), model["draft_path"]
    if not draft:
        return facts
    guessing = _gguf.check(draft)
    if problem := _gguf.tokenizer_problem(model["path"], draft):
        raise CopilotError(
            f"{draft} cannot draft for {model['path']}, since its tokenizer is another one: {problem}. Name another draft_model "
            "in the catalogue, or remove it."
        )
    return {**facts, "draft": guessing}


def speeds(models: dict[str, dict[str, Any]], path: str | None) -> dict[str, dict[str, float]]:
    """Returns the expected speed of models on this host, if the host was measured."""
    speed = read_speed(Path(path).read_text(encoding="utf-8")) if path and os.path.exists(path) else None
    return {name: asdict(expected(gguf, speed)) for name, gguf in models.items()} if speed else {}


def planned(parameters: dict[str, Any]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Returns the plan, whether chat templates support tools, and the expected speed of the models."""
    settings = settings_of({name: parameters[name] for name in SETTINGS})
    host = {"host_memory_mib": parameters["host_memory_mib"], "reserve_mib": parameters["reserve_mib"]}
    if host["host_memory_mib"] is None:
        host["host_memory_mib"] = memory_mib("MemTotal")
    if parameters["path"]:
        gguf = facts_of(parameters)
        return (
            plan_one(gguf, **host, **settings),
            gguf["chat_template_tools"],
            speeds({THE_MODEL: gguf}, parameters["speed_path"]),
        )
    models = [
        {
            **settings,
            **settings_of(model["settings"]),
            "name": model["name"],
            "gguf": facts_of(model),
            "pinned": model["pinned"],
        }
        for model in parameters["models"] or []
    ]
    plan = plan_models(models, most_loaded=parameters["most_loaded"], **host)
    ggufs = {model["name"]: model["gguf"] for model in models}
    tools = {name: gguf["chat_template_tools"] for name, gguf in ggufs.items()}
    return plan, tools, speeds(ggufs, parameters["speed_path"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "draft_path": {"type": "path"},
            "models": {"type": "list", "elements": "dict", "options": MODEL},
            "most_loaded": {"type": "int", "default": 0},
            "allow_missing": {"type": "bool", "default": False},
            "host_memory_mib": {"type": "int"},
            "reserve_mib": {"type": "int", "default": 2048},
            "speed_path": {"type": "path"},
            **SETTINGS,
        },
        required_one_of=[("path", "models")],
        mutually_exclusive=[("path", "models")],
        supports_check_mode=True,
    )
    models = [module.params] if module.params["path"] else module.params["models"] or []
    paths = [model[key] for model in models for key in ("path", "draft_path") if model[key]]
    if module.params["allow_missing"] and not all(map(os.path.exists, paths)):
        module.exit_json(changed=False, plan=None)
    try:
        plan, tools, speed = planned(module.params)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, plan=plan, tools=tools, expected=speed)


if __name__ == "__main__":
    main()
