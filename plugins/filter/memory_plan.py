# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans the memory of llama-server."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils import _memory
from ansible_collections.slm.copilot.plugins.module_utils._errors import CopilotError

DOCUMENTATION = r"""
name: memory_plan
short_description: Tell how much memory llama-server needs for a model
version_added: 0.1.0
description:
  - Adds up what llama-server needs for a model and its settings, from the model's own header, and says whether a host has it,
    before anything starts.
  - The sum is an upper bound for weights, KV cache of every slot, context checkpoints, buffers to compute in, and prompt cache.
    Weights count once, with and without C(mmap), as the kernel drops the pages that it can read again.
options:
  _input:
    description: The RV(slm.copilot.gguf_info#module:gguf) dictionary of M(slm.copilot.gguf_info).
    type: dict
    required: true
  host_memory_mib:
    description: Memory of the host, in MiB.
    type: int
    required: true
  slots:
    description: Conversations at a time (C(--parallel)).
    type: int
    default: 1
  context_size:
    description: Tokens for each slot. What C(--ctx-size) takes is this times O(slots).
    type: int
    default: 32768
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
    description: Size of the prompt cache in MiB (C(--cache-ram)). The default is the one of llama-server.
    type: int
    default: 8192
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
  reserve_mib:
    description: Memory for everything else on the host, in MiB.
    type: int
    default: 2048
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Read the model's header
  slm.copilot.gguf_info:
    path: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
  register: model

- name: Refuse what does not fit
  ansible.builtin.assert:
    that: plan.fits
    fail_msg: "{{ plan.explanation }}"
  vars:
    plan: >-
      {{ model.gguf | slm.copilot.memory_plan(slots=2, context_size=32768, prompt_cache_mib=2048,
         host_memory_mib=ansible_facts['memtotal_mb']) }}
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    mib:
      description: Each part in MiB, rounded up.
      type: dict
      contains:
        weights:
          description: The model's tensors.
          type: int
          sample: 13669
        kv_cache:
          description: Keys and values, or recurrent state, of all slots.
          type: int
          sample: 10240
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
          sample: 2048
        reserve:
          description: What is left for the rest of the host.
          type: int
          sample: 2048
        total:
          description: The sum.
          type: int
          sample: 28398
        host_memory:
          description: What the host has.
          type: int
          sample: 32000
    bytes:
      description: Each part in bytes, by the same names.
      type: dict
      sample: {"weights": 14332228608, "kv_cache": 10737418240, "total": 29776705536}
    kv_bytes_per_token:
      description: Bytes that one token takes in the KV cache, over all layers.
      type: int
      sample: 163840
    fits:
      description: Whether the host has the total.
      type: bool
      sample: true
    memory_max_mib:
      description: C(MemoryMax) for the service in MiB, which is the total without the reserve and a tenth (at least 512 MiB)
        more, and never more than the host has.
      type: int
      sample: 28985
    explanation:
      description: The sum in one line, and where it does not fit, the nearest settings that would.
      type: str
      sample: "weights 13669 + KV cache 10240 (2 slots of 32768 tokens of 160 KiB) + compute 393 + prompt cache 2048 +
        reserve 2048 = 28398 MiB of 32000 MiB: fits, 3602 MiB stay free."
"""

SETTINGS = {field.name for field in fields(_memory.Settings)}


def memory_plan(gguf: Any, **settings: Any) -> dict[str, Any]:
    unknown = sorted(settings.keys() - SETTINGS)
    if unknown:
        raise AnsibleFilterError(f"memory_plan: no such argument: {', '.join(unknown)}; there are {', '.join(sorted(SETTINGS))}")
    if not isinstance(gguf, dict) or "host_memory_mib" not in settings:
        raise AnsibleFilterError("memory_plan: give it the gguf dictionary of gguf_info, and host_memory_mib")
    try:
        return _memory.plan(gguf, **settings)
    except CopilotError as error:
        raise AnsibleFilterError(f"memory_plan: {error}") from error


class FilterModule:
    """The filter of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"memory_plan": memory_plan}
