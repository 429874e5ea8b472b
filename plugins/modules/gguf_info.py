#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: What the header of a GGUF model file says
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the header of a GGUF file (version 2 or 3) on the host and returns the sizes of the model, its quantisation, and
    whether the file has all the bytes that its tensors need. The weights are not read, so it takes a fraction of a second
    for a file of any size.
  - Fails where the file is missing, empty, not GGUF, has a corrupt header, or is truncated within its header. A file that is
    truncated after its header is reported by RV(gguf.truncated).
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  path:
    description: The GGUF file on the host.
    type: path
    required: true
seealso:
  - module: slm.copilot.memory_plan
"""

EXAMPLES = r"""
- name: Look at a model
  slm.copilot.gguf_info:
    path: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
  register: model

- name: Refuse half a file
  ansible.builtin.assert:
    that: not model.gguf.truncated
    fail_msg: "{{ model.gguf.path }} has {{ model.gguf.file_size }} of {{ model.gguf.required_size }} bytes; download it again."
"""

RETURN = r"""
gguf:
  description: The model, from its header.
  returned: success
  type: dict
  contains:
    path:
      description: The file.
      type: str
      sample: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
    version:
      description: Version of the GGUF format, 2 or 3.
      type: int
      sample: 3
    architecture:
      description: Architecture as llama.cpp names it.
      type: str
      sample: mistral3
    name:
      description: Name of the model; empty where the file has none.
      type: str
      sample: Devstral-Small-2-24B-Instruct-2512
    context_length:
      description: Context for which the model was trained, in tokens.
      type: int
      sample: 393216
    layers:
      description: Number of layers.
      type: int
      sample: 40
    embedding_length:
      description: Width of the model, in values.
      type: int
      sample: 5120
    feed_forward_length:
      description: Width of the feed-forward part, in values; a list with one number for each layer where they differ.
      type: raw
      sample: 32768
    heads:
      description: Attention heads; a list with one number for each layer where they differ; 0 without attention.
      type: raw
      sample: 32
    kv_heads:
      description: Heads with keys and values, all heads where the file does not say; a list where layers differ.
      type: raw
      sample: 8
    key_length:
      description: Values in the key of a head; width of the model by heads where the file does not say.
      type: int
      sample: 128
    value_length:
      description: Likewise for the value of a head.
      type: int
      sample: 128
    key_length_swa:
      description: Values in the key of a head in layers with a sliding window, where it differs there.
      type: int
      sample: 128
    value_length_swa:
      description: Likewise for the value of a head.
      type: int
      sample: 128
    latent_attention:
      description: Whether keys and values are compressed into one (MLA, as in DeepSeek's models).
      type: bool
      sample: false
    shared_kv_layers:
      description: How many of the last layers use the KV cache of earlier ones.
      type: int
      sample: 0
    sliding_window:
      description: Tokens that layers with a sliding window see; 0 where all see the whole context.
      type: int
      sample: 0
    sliding_window_pattern:
      description: Which layers have the window, a list of booleans or a period, as the file says it; null where it does not.
      type: raw
      sample: null
    vocab_size:
      description: Tokens in the vocabulary.
      type: int
      sample: 131072
    tokenizer:
      description: Kind of tokenizer, as llama.cpp names it.
      type: str
      sample: gpt2
    chat_template:
      description: Whether the file brings a chat template.
      type: bool
      sample: true
    chat_template_tools:
      description: Whether that shows the model the tools that agents send.
      type: bool
      sample: true
    expert_count:
      description: Experts in a layer; 0 for a dense model.
      type: int
      sample: 0
    expert_used_count:
      description: Experts that work on one token.
      type: int
      sample: 0
    expert_feed_forward_length:
      description: Width of the feed-forward part of one expert, in values.
      type: int
      sample: 0
    recurrent_layers:
      description: Which layers are recurrent, a list of booleans, where the file says it; empty where it does not.
      type: raw
      sample: []
    full_attention_interval:
      description: Every n-th layer attends to the whole context and the others are recurrent; 0 where the file does not say it.
      type: int
      sample: 0
    shortconv_length:
      description: Tokens that a short convolution in the place of attention sees (LFM2); 0 for other models.
      type: int
      sample: 0
    wkv_head_size:
      description: Values in a head of RWKV's time mixing; 0 for other models.
      type: int
      sample: 0
    token_shift_count:
      description: How many former rows a layer of RWKV keeps.
      type: int
      sample: 2
    kda_head_size:
      description: Values in a head of Kimi's delta attention; 0 for other models.
      type: int
      sample: 0
    draft_layers:
      description: How many of the layers at the end only guess further tokens (multi-token prediction).
      type: int
      sample: 0
    ssm:
      description: Sizes of recurrent layers (Mamba and relatives), with the keys of the file; empty for other models.
      type: dict
      sample: {}
    quantization:
      description: What the file was quantised to; empty where it does not say or the name is unknown.
      type: str
      sample: Q4_K_M
    split_count:
      description: Number of files that make up the model; of those this is one. 1 for a whole model.
      type: int
      sample: 1
    tensor_type:
      description: Type that takes most bytes; empty in a file without tensors.
      type: str
      sample: Q4_K
    tensor_types:
      description: Bytes of the tensors of each type.
      type: dict
      sample: {"F32": 1658880, "Q4_K": 11559502848, "Q6_K": 2771066880}
    tensor_count:
      description: Number of tensors.
      type: int
      sample: 363
    tensor_bytes:
      description: Bytes of all tensors.
      type: int
      sample: 14332228608
    parameters:
      description: Number of weights.
      type: int
      sample: 23572403200
    active_parameters:
      description: Number of weights that work on one token, which of a mixture of experts is a part.
      type: int
      sample: 22901314560
    active_bytes:
      description: Bytes of these, which are read to generate one token.
      type: int
      sample: 13954741248
    output_parameters:
      description: Number of weights that make a row of logits. Of a prompt only its last token needs them.
      type: int
      sample: 671088640
    data_offset:
      description: Byte of the file at which the tensors begin.
      type: int
      sample: 7961952
    required_size:
      description: Bytes that the file must have.
      type: int
      sample: 14340190560
    file_size:
      description: Bytes that the file has.
      type: int
      sample: 14340190560
    truncated:
      description: Whether the file has fewer bytes than it must have.
      type: bool
      sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        facts = _gguf.read(module.params["path"])
    except CopilotError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, gguf=facts)


if __name__ == "__main__":
    main()
