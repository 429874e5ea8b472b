#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: Read the header of a GGUF model file
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads the header of a GGUF file (version 2 or 3) on the host and returns the dimensions of the model, its quantisation, and
    whether the file is as long as its tensors need. It does not read the weights, so it takes a fraction of a second for a file
    of any size.
  - Fails if the file is missing, empty, not GGUF, has a corrupt header, or is truncated within its header. A file that is
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
- name: Read the header of a model
  slm.copilot.gguf_info:
    path: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
  register: model

- name: Refuse a truncated file
  ansible.builtin.assert:
    that: not model.gguf.truncated
    fail_msg: "{{ model.gguf.path }} has {{ model.gguf.file_size }} of {{ model.gguf.required_size }} bytes; download it again."
"""

RETURN = r"""
gguf:
  description: The model, as described by its header.
  returned: success
  type: dict
  contains:
    path:
      description: Path of the file.
      type: str
      sample: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
    version:
      description: Version of the GGUF format, 2 or 3.
      type: int
      sample: 3
    architecture:
      description: Architecture, as named by llama.cpp.
      type: str
      sample: mistral3
    name:
      description: Name of the model. Empty if the file has none.
      type: str
      sample: Devstral-Small-2-24B-Instruct-2512
    context_length:
      description: Context size that the model was trained for, in tokens.
      type: int
      sample: 393216
    layers:
      description: Number of layers.
      type: int
      sample: 40
    embedding_length:
      description: Embedding length, the width of the model in values.
      type: int
      sample: 5120
    feed_forward_length:
      description: Width of the feed-forward network in values; a list with one number per layer if layers differ.
      type: raw
      sample: 32768
    heads:
      description: Number of attention heads; a list with one number per layer if layers differ; 0 without attention.
      type: raw
      sample: 32
    kv_heads:
      description: Number of KV heads. Defaults to all heads if the file does not specify it; a list if layers differ.
      type: raw
      sample: 8
    key_length:
      description: Number of values in a head's key. Defaults to the embedding length divided by the number of heads.
      type: int
      sample: 128
    value_length:
      description: Number of values in a head's value, with the same default.
      type: int
      sample: 128
    key_length_swa:
      description: Number of values in a head's key in sliding-window layers, if it differs there.
      type: int
      sample: 128
    value_length_swa:
      description: Number of values in a head's value in sliding-window layers, if it differs there.
      type: int
      sample: 128
    latent_attention:
      description: Whether keys and values are compressed together (MLA, as in DeepSeek's models).
      type: bool
      sample: false
    shared_kv_layers:
      description: Number of final layers that use the KV cache of earlier ones.
      type: int
      sample: 0
    sliding_window:
      description: Window size of sliding-window layers in tokens; 0 if all layers attend to the whole context.
      type: int
      sample: 0
    sliding_window_pattern:
      description:
        - Which layers have a sliding window, a list of booleans or a period, as in the file; null if it is not specified.
      type: raw
      sample: null
    vocab_size:
      description: Number of tokens in the vocabulary.
      type: int
      sample: 131072
    tokenizer:
      description: Type of the tokenizer, as named by llama.cpp.
      type: str
      sample: gpt2
    chat_template:
      description: Whether the file contains a chat template.
      type: bool
      sample: true
    chat_template_tools:
      description: Whether the chat template supports tools.
      type: bool
      sample: true
    expert_count:
      description: Number of experts per layer; 0 for a dense model.
      type: int
      sample: 0
    expert_used_count:
      description: Number of experts used for each token.
      type: int
      sample: 0
    expert_feed_forward_length:
      description: Width of the feed-forward network of one expert in values.
      type: int
      sample: 0
    recurrent_layers:
      description: Which layers are recurrent, a list of booleans; empty if the file does not specify it.
      type: raw
      sample: []
    full_attention_interval:
      description: Every n-th layer attends to the whole context and the others are recurrent; 0 if it is not specified.
      type: int
      sample: 0
    shortconv_length:
      description: Number of tokens that a short convolution covers in place of attention (LFM2); 0 for other models.
      type: int
      sample: 0
    wkv_head_size:
      description: Number of values in a head of RWKV's time mixing; 0 for other models.
      type: int
      sample: 0
    token_shift_count:
      description: Number of previous rows that an RWKV layer keeps.
      type: int
      sample: 2
    kda_head_size:
      description: Number of values in a head of Kimi's delta attention; 0 for other models.
      type: int
      sample: 0
    draft_layers:
      description: Number of final layers that only draft further tokens (multi-token prediction).
      type: int
      sample: 0
    ssm:
      description: Dimensions of recurrent layers (Mamba and relatives), by their keys in the file; empty for other models.
      type: dict
      sample: {}
    quantization:
      description: Quantisation of the file; empty if it is not specified or unknown.
      type: str
      sample: Q4_K_M
    split_count:
      description: Number of files that make up the model, including this one; 1 for a model in one file.
      type: int
      sample: 1
    tensor_type:
      description: Tensor type that takes the most bytes; empty in a file without tensors.
      type: str
      sample: Q4_K
    tensor_types:
      description: Size in bytes of the tensors of each type.
      type: dict
      sample: {"F32": 1658880, "Q4_K": 11559502848, "Q6_K": 2771066880}
    tensor_count:
      description: Number of tensors.
      type: int
      sample: 363
    tensor_bytes:
      description: Size of all tensors in bytes.
      type: int
      sample: 14332228608
    parameters:
      description: Number of weights.
      type: int
      sample: 23572403200
    active_parameters:
      description: Number of weights used for each token, which is smaller for a mixture of experts.
      type: int
      sample: 22901314560
    active_bytes:
      description: Size of these weights in bytes, which are read to generate one token.
      type: int
      sample: 13954741248
    output_parameters:
      description: Number of weights that compute a row of logits. In a prompt, only the last token needs them.
      type: int
      sample: 671088640
    data_offset:
      description: Offset of the tensor data in the file, in bytes.
      type: int
      sample: 7961952
    required_size:
      description: Required size of the file in bytes.
      type: int
      sample: 14340190560
    file_size:
      description: Actual size of the file in bytes.
      type: int
      sample: 14340190560
    truncated:
      description: Whether the file is smaller than required.
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
