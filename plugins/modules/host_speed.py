#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_speed
short_description: Measure a host's compute speed in seconds, before it has a model
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Runs llama-bench of the installed engine with small generated models, whose weights are zeros and take no disk space. One
    model per data type of weights measures the speed of prompt processing and of token generation. Another model measures the
    speed of attention.
  - The results are stored in a file. M(slm.copilot.memory_plan) and the filter P(slm.copilot.models_advice#filter) calculate the
    expected speed of models from them.
  - A running llama-server is not stopped. If it is busy, both are slower.
requirements:
  - mount, setpriv and unshare (util-linux) on the host
extends_documentation_fragment:
  - slm.copilot.tuning
options:
  types:
    description: Data types of weights to measure, as in RV(slm.copilot.gguf_info#module:gguf.tensor_type).
    type: list
    elements: str
    default: []
  models:
    description: Model files whose data types of weights are measured as well. Missing files are ignored.
    type: list
    elements: path
    default: []
  user:
    description: Account that runs llama-bench.
    type: str
    default: slm-copilot
  directory:
    description: Directory for the small models. It must not be hidden from services, as C(/tmp) is.
    type: path
    default: /var/cache
  seconds:
    description: Maximum duration of the measurement in seconds.
    type: int
    default: 60
  idle:
    description: Whether to fail if the host is busy, because the results would be unreliable.
    type: bool
    default: false
  force:
    description: Whether to measure again if there are valid results.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reports whether it would measure.
  diff_mode:
    support: none
    description: Measurements have no diff.
  idempotent:
    support: partial
    description: With O(force=true) it measures in every run.
seealso:
  - module: slm.copilot.model_tune
  - plugin: slm.copilot.models_advice
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read the CPU features
  slm.copilot.cpu_info:
  register: host

- name: Measure the host with the data types of the catalogue's models
  slm.copilot.host_speed:
    path: /etc/slm-copilot/speed.json
    engine_dir: /opt/slm-copilot/llama.cpp/current
    cpu: "{{ host.cpu }}"
    types: [Q4_K, Q8_0]
"""

RETURN = r"""
speed:
  description: The measured speeds. Empty in check mode if it would measure.
  returned: success
  type: dict
  contains:
    types:
      description:
        - For each data type of weights, weights processed per second in prompts, and bytes read per second in generation.
      type: dict
      sample: {"Q4_K": {"prompt": 141000000000, "generated": 13300000000}}
    attention_prompt:
      description: Multiplications of query values with key and value entries per second, in prompts.
      type: float
      sample: 41000000000
    attention_generated:
      description: Bytes of keys and values read per second, in generation.
      type: float
      sample: 6100000000
    layer_seconds:
      description: Additional seconds per layer and token.
      type: float
      sample: 0.00002
memory_mib:
  description: Memory of the host or, if that is smaller, of its control group, in MiB.
  returned: success
  type: int
  sample: 32000
others_share:
  description: Share of CPU time that other processes used meanwhile, from 0 to 1. The results are too low by about this share.
  returned: when it measured
  type: float
  sample: 0.02
"""

import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write
from ansible_collections.slm.copilot.plugins.module_utils._host.conditions import busy_seconds
from ansible_collections.slm.copilot.plugins.module_utils._host.meminfo import memory_mib
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.bench import run_bench
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import (
    OutOfTime,
    Settings,
    bench_arguments,
    parse_bench,
)
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.store import host_identity
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.probe import Probe, write_probe
from ansible_collections.slm.copilot.plugins.module_utils._model.speed import HostSpeed, measured, read_speed, write_speed

MUCH = 0.1  # of the processors' time


def bench_runner(params: dict[str, Any], folder: str):
    """Returns a function that runs llama-bench with a probe."""
    deadline = time.monotonic() + params["seconds"]
    cores = int(params["cpu"]["usable_cores"])

    def bench(probe: Probe, prompt: int, generated: int, depth: int) -> dict[str, float]:
        path = os.path.join(folder, f"{probe.weights}-{probe.layers}.gguf")
        if not os.path.exists(path):
            write_probe(path, probe)
            os.chmod(path, 0o644)
        arguments = bench_arguments(Settings(cores, cores), cores, prompt, generated, depth)
        try:
            return parse_bench(run_bench(params["user"], params["engine_dir"], path, arguments, deadline - time.monotonic()))
        except OutOfTime:
            raise CopilotError(f"The host is too slow to be measured in {params['seconds']} seconds.") from None

    return bench


def types_of(params: dict[str, Any]) -> list[str]:
    found = [_gguf.read(path)["tensor_type"] for path in params["models"] if os.path.exists(path)]
    unknown = [kind for kind in params["types"] if kind not in [name for name, _block, _bytes in _gguf.TENSOR_TYPES.values()]]
    if unknown:
        raise CopilotError(f"types has {', '.join(unknown)}, which llama.cpp does not know.")
    return list(dict.fromkeys([*params["types"], *filter(None, found)]))


def measure(params: dict[str, Any], wanted: list[str]) -> tuple[HostSpeed, float]:
    """Returns the measured speed, and the share of CPU time that other processes used."""
    started, busy = time.monotonic(), busy_seconds()
    with tempfile.TemporaryDirectory(prefix="slm-copilot-speed-", dir=params["directory"]) as folder:
        os.chmod(folder, 0o755)
        found = measured(bench_runner(params, folder), wanted)
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    others = busy_seconds() - busy - own.ru_utime - own.ru_stime
    return found, max(0.0, others) / (time.monotonic() - started) / (os.cpu_count() or 1)


def run(module: AnsibleModule) -> dict[str, Any]:
    params, path = module.params, Path(module.params["path"])
    wanted = types_of(params)
    if not wanted:
        raise CopilotError("There is no data type to measure: give types, or models that exist.")
    identity = host_identity(params["engine_dir"], params["cpu"])
    former = read_speed(path.read_text(encoding="utf-8"), identity) if path.exists() and not params["force"] else None
    result = {"memory_mib": memory_mib("MemTotal")}
    missing = [kind for kind in wanted if former is None or kind not in former.types]
    if former is not None and not missing:
        return {"changed": False, "speed": json.loads(write_speed(former, identity)), **result}
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if params["idle"] and load > processors:
        raise CopilotError(f"The host is busy (a load of {load:.1f} on {processors} processors): measure it when it is idle.")
    if module.check_mode:
        return {"changed": True, "speed": {}, **result}
    found, others = measure(params, missing)
    if former is not None:
        found = HostSpeed({**former.types, **found.types}, found.attention_prompt, found.attention_generated, found.layer_seconds)
    text = write_speed(found, identity)
    write(path, text, 0o644)
    if others > MUCH:
        module.warn(
            f"Other processes used {others:.0%} of the CPU time meanwhile, so the results are too low: measure again "
            "when the host is idle."
        )
    return {"changed": True, "speed": json.loads(text), "others_share": round(others, 3), **result}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "engine_dir": {"type": "path", "required": True},
            "cpu": {"type": "dict", "required": True},
            "types": {"type": "list", "elements": "str", "default": []},
            "models": {"type": "list", "elements": "path", "default": []},
            "user": {"type": "str", "default": "slm-copilot"},
            "directory": {"type": "path", "default": "/var/cache"},
            "seconds": {"type": "int", "default": 60},
            "idle": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except (OSError, KeyError) as error:
        module.fail_json(msg=f"The host cannot be measured: {error}.")


if __name__ == "__main__":
    main()
