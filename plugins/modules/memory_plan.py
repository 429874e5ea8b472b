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
  - Reads the headers of models on the host and adds up what llama-server needs for them with these settings, says whether the
    host has that much, and where it has not, the nearest settings that would fit. It starts nothing and changes nothing.
  - The sum is an upper bound for weights, KV cache and recurrent state of every slot, context checkpoints, buffers to compute
    in, and prompt cache. Weights count once, with and without C(mmap), as the kernel drops the pages that it can read again.
  - No model is served with a longer context than it was trained for, whatever was asked for.
  - V(auto) means the largest that fits. The context is decided first, up to what the model was trained for, then the slots, up
    to 4, then the prompt cache, all that is left. While one is sought, those that come later count with two slots and a prompt
    cache for one conversation of full length, or with less where not even 4096 tokens would fit beside that.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  path:
    description: The GGUF file of one model on the host. Exactly one of this and O(models) is needed.
    type: path
  models:
    description:
      - Several models that llama-server's router loads and unloads, each in a process of its own.
      - When as many are loaded as can be, what is V(auto) has an equal share of the memory that is left.
    type: list
    elements: dict
    suboptions:
      name:
        description: What the model is called in the result.
        type: str
        required: true
      path:
        description: Its GGUF file on the host.
        type: path
        required: true
      pinned:
        description: Whether it is always loaded.
        type: bool
        default: false
      settings:
        description:
          - Settings of this model that differ from the others', by the names of the options from O(slots) to O(load_mode).
        type: dict
        default: {}
  most_loaded:
    description: How many of O(models) are to be loaded at once at most, though more would fit. 0 means as many as fit.
    type: int
    default: 0
  allow_missing:
    description:
      - Whether a model that is not there is no error. There is no plan then.
      - For check mode, in which models are still to come.
    type: bool
    default: false
  host_memory_mib:
    description: Memory of the host, in MiB. By default what the host's kernel says (C(MemTotal)).
    type: int
  reserve_mib:
    description: Memory for everything else on the host, in MiB.
    type: int
    default: 2048
  slots:
    description: Conversations at a time (C(--parallel)), or V(auto).
    type: str
    default: "1"
  context_size:
    description: Tokens for each slot, or V(auto). What C(--ctx-size) takes is this times O(slots).
    type: str
    default: "32768"
  cache_type_k:
    description: Type of the keys in the KV cache (C(--cache-type-k)).
    type: str
    choices: [f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl]
    default: f16
  cache_type_v:
    description: Type of the values in the KV cache (C(--cache-type-v)).
    type: str
    choices: [f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl]
    default: f16
  prompt_cache_mib:
    description: Size of the prompt cache in MiB (C(--cache-ram)), or V(auto). The default is the one of llama-server.
    type: str
    default: "8192"
  context_checkpoints:
    description:
      - Context checkpoints for each slot (C(--ctx-checkpoints)). The default is the one of llama-server.
      - Only models with sliding-window or recurrent layers make them. For those they can be the larger part.
    type: int
    default: 32
  ubatch:
    description: Tokens in a physical batch (C(--ubatch-size)).
    type: int
    default: 512
  flash_attention:
    description: Flash attention (C(--flash-attn)). Without it, buffers grow by heads times context times O(ubatch).
    type: str
    choices: [auto, 'on', 'off']
    default: auto
  load_mode:
    description: How weights are loaded (C(--load-mode)). With V(mmap+mlock) repacked weights stay in memory twice.
    type: str
    choices: [auto, none, mmap, mlock, mmap+mlock, dio]
    default: mmap
  drafted_tokens:
    description: Tokens that speculation guesses at a time for each slot at most (C(64) for C(--spec-type ngram-mod)).
    type: int
    default: 0
  speed_path:
    description: Where M(slm.copilot.host_speed) keeps how fast the host computes. A file that is not there says nothing.
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

- name: Refuse what does not fit
  ansible.builtin.assert:
    that: planned.plan.fits
    fail_msg: "{{ planned.plan.explanation }}"

- name: See how many of several models can be loaded at once
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
  description: The plan; null with O(allow_missing=true) where a model is not there.
  returned: success
  type: dict
  contains:
    fits:
      description: Whether the host has the memory; for several models, whether it has it for each beside the pinned ones.
      type: bool
      returned: always
      sample: true
    explanation:
      description: The sum in words, and where it does not fit, the nearest settings that would.
      type: str
      returned: always
      sample: "weights 13669 + KV cache 10240 (2 slots of 32768 tokens of 160 KiB) + compute 393 + prompt cache 5120 +
        reserve 2048 = 31470 MiB of 32000 MiB: fits, 530 MiB stay free."
    warnings:
      description: What was asked for and cannot be had, such as a context longer than the model was trained for, in words.
      type: list
      elements: str
      returned: always
      sample: []
    memory_max_mib:
      description: C(MemoryMax) for the service in MiB, which is the total without the reserve and a tenth (at least 512 MiB)
        more, as far as that leaves the host its reserve.
      type: int
      returned: always
      sample: 29952
    settings:
      description: The settings as they are to be used, with numbers in the place of V(auto).
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
          description: Keys and values of all slots.
          type: int
          sample: 10240
        recurrent_state:
          description: State of the recurrent layers, of all slots.
          type: int
          sample: 0
        checkpoints:
          description: Context checkpoints of all slots.
          type: int
          sample: 0
        compute:
          description: Buffers to compute in, the tokenizer, and the program itself.
          type: int
          sample: 393
        prompt_cache:
          description: The prompt cache.
          type: int
          sample: 5120
        reserve:
          description: What is left for the rest of the host.
          type: int
          sample: 2048
        total:
          description: The sum.
          type: int
          sample: 31470
        host_memory:
          description: What the host has.
          type: int
          sample: 32000
    bytes:
      description: Each part in bytes, by the same names.
      type: dict
      returned: with O(path)
      sample: {"weights": 14332228608, "kv_cache": 10737418240, "total": 32997907456}
    kv_bytes_per_token:
      description: Bytes that one token takes in the KV cache, over all layers.
      type: int
      returned: with O(path)
      sample: 163840
    alternatives:
      description: Where it does not fit, single changes that would make it fit, each as small as it can be.
      type: list
      elements: dict
      returned: with O(path)
      sample: [{"context_size": 22016}, {"slots": 2}, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}]
    models:
      description: Each model by its name, with RV(plan.settings), RV(plan.mib) (total is its own, without the reserve),
        C(pinned), and C(fits), which says whether it has room beside the pinned ones.
      type: dict
      returned: with O(models)
      sample: {"devstral-small-2": {"pinned": false, "fits": true, "mib": {"total": 26350}, "settings": {"slots": 1}}}
    most_loaded:
      description: How many can be loaded at once, whichever they are, the pinned ones included.
      type: int
      returned: with O(models)
      sample: 1
tools:
  description: Whether the model's chat template shows it the tools that agents send, or for O(models) each model by its name.
  returned: when RV(plan) is not null
  type: raw
  sample: true
expected:
  description:
    - How fast each model will be on this host, by its name, or V(model) with O(path). Empty without O(speed_path).
    - Those are tokens a second of a prompt of 512 tokens and of an answer, and seconds for a prompt of 20,000 tokens, and for an
      answer of 256 tokens to 1024 new ones in a conversation of 20,000.
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
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import CACHE_TYPES
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
    "drafted_tokens": {"type": "int", "default": 0, "no_log": False},
}
MODEL = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "pinned": {"type": "bool", "default": False},
    "settings": {"type": "dict", "default": {}},
}


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Numbers where texts are numbers: an option that may be ``auto`` comes as a text."""
    return {name: int(value) if isinstance(value, str) and value.isdecimal() else value for name, value in given.items()}


def speeds(models: dict[str, dict[str, Any]], path: str | None) -> dict[str, dict[str, float]]:
    """Returns what is to be expected of models on this host, as far as it was measured."""
    speed = read_speed(Path(path).read_text(encoding="utf-8")) if path and os.path.exists(path) else None
    return {name: asdict(expected(gguf, speed)) for name, gguf in models.items()} if speed else {}


def planned(parameters: dict[str, Any]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Returns the plan, whether templates show tools, and what is to be expected of the models."""
    settings = settings_of({name: parameters[name] for name in SETTINGS})
    host = {"host_memory_mib": parameters["host_memory_mib"], "reserve_mib": parameters["reserve_mib"]}
    if host["host_memory_mib"] is None:
        host["host_memory_mib"] = memory_mib("MemTotal")
    if parameters["path"]:
        gguf = _gguf.check(parameters["path"])
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
            "gguf": _gguf.check(model["path"]),
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
    paths = [module.params["path"]] if module.params["path"] else [model["path"] for model in module.params["models"] or []]
    if module.params["allow_missing"] and not all(map(os.path.exists, paths)):
        module.exit_json(changed=False, plan=None)
    try:
        plan, tools, speed = planned(module.params)
    except CopilotError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, plan=plan, tools=tools, expected=speed)


if __name__ == "__main__":
    main()
