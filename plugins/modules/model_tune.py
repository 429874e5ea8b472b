#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_tune
short_description: Measure which settings make a model fastest on a host
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Runs llama-bench of the installed engine with the host's own model. It varies one setting at a time and keeps the best value
    so far, in this order. Threads (physical cores, logical CPUs, those of one NUMA node), NUMA mode, physical batch size, flash
    attention, data types of the KV cache.
  - With O(server_arguments), then runs llama-server with the fastest settings and times an agent's work. That is a cold prompt, a
    warm turn, a file edit, a tool call, and file edits in all slots at once, without speculation and with each of
    O(speculations). The type that is fastest overall is chosen, unless it slows down one of these.
  - The settings that are fastest for an agent's turn of 1024 new and 256 generated tokens are stored with all measurements in a
    file on the host. M(slm.copilot.model_tune_info) reads it.
  - If the service runs, it is stopped meanwhile. systemd starts it again in any case, even if the module is killed.
  - Valid measurements of the same model, engine and processor are not repeated.
  - Progress is shown at least every 15 seconds. A second run waits for the first one.
requirements:
  - systemd, mount, setpriv and unshare (util-linux) on the host
extends_documentation_fragment:
  - slm.copilot.long_job
  - slm.copilot.tuning
  - ansible.builtin.files
options:
  name:
    description: Name of the model, under which its results are stored.
    type: str
    required: true
  model:
    description: Path of the GGUF file on the host.
    type: path
    required: true
  service:
    description: Service to stop during the measurement.
    type: str
    default: slm-copilot.service
  user:
    description: Account that runs llama-bench.
    type: str
    default: slm-copilot
  seconds:
    description: Maximum duration of the measurement in seconds. The results so far are used.
    type: int
    default: 1800
  prompt_tokens:
    description: Length of the measured prompts in tokens.
    type: int
    default: 512
  generated_tokens:
    description: Number of tokens to generate in each measurement.
    type: int
    default: 32
  depth:
    description:
      - Number of tokens in the KV cache before a measurement starts. With 0, the data type of the cache makes no difference.
    type: int
    default: 512
  ubatch_sizes:
    description: Physical batch sizes to try, in tokens. Sizes larger than O(prompt_tokens) are skipped.
    type: list
    elements: int
    default: [512, 256, 128, 1024]
  cache_types:
    description: Data types of the KV cache to try, each for keys and values.
    type: list
    elements: str
    default: [f16, q8_0]
  server_arguments:
    description:
      - Arguments of the host's llama-server, each with its value. Arguments that this module measures are replaced.
      - If empty, no agent's work is timed. Otherwise llama-bench may take 60 % of O(seconds) at most.
    type: list
    elements: list
    default: []
  speculations:
    description:
      - Methods of speculation (C(--spec-type)) to compare with none. Combinations are separated by commas.
      - C(draft-simple) needs O(draft_model).
    type: list
    elements: str
    default: [ngram-mod, ngram-simple]
  draft_model:
    description: Path of the draft model's GGUF file on the host.
    type: path
  edit_tokens:
    description: Maximum length of a file edit, in tokens.
    type: int
    default: 192
  force:
    description: Whether to measure again even if there are valid results.
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
  - module: slm.copilot.model_tune_info
  - plugin: slm.copilot.tuning_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read the CPU features
  slm.copilot.cpu_info:
  register: host

- name: Measure for at most half an hour
  slm.copilot.model_tune:
    name: devstral-small-2
    model: /var/lib/slm-copilot/models/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf
    path: /etc/slm-copilot/tuning.json
    engine_dir: /opt/slm-copilot/llama.cpp/current
    cpu: "{{ host.cpu }}"
    seconds: 1800
"""

RETURN = r"""
tuning:
  description: The stored results for the model.
  returned: success, and not in check mode where it would measure
  type: dict
  contains:
    settings:
      description:
        - The fastest settings, named like the variables of the role llama_server without their prefix. They include
          C(speculation) if an agent's work was timed.
      type: dict
      sample: {"threads": 16, "threads_batch": 32, "ubatch_size": 512, "flash_attention": "on", "cache_type_k": "q8_0",
        "cache_type_v": "q8_0", "numa": "off", "load_mode": "mmap"}
    figures:
      description: Every measurement in tokens per second, and the resulting duration of a turn in seconds.
      type: list
      elements: dict
    work:
      description: Duration of each kind of work in seconds, for each tested server. Empty without O(server_arguments).
      type: list
      elements: dict
    gains:
      description: Speedup of each kind of work, compared with the settings before tuning and no speculation.
      type: dict
      sample: {"cold prompt": 1.15, "warm turn": 1.08, "file edit": 2.1, "tool call": 1.2, "2 file edits at once": 1.9}
    skipped:
      description: Settings that were not varied because time ran out.
      type: list
      elements: str
      sample: [cache types]
    failed:
      description: Settings that could not be measured, with the reason.
      type: list
      elements: str
    seconds:
      description: Duration in seconds.
      type: float
      sample: 1266.4
    measured_at:
      description: Time of the measurement (UTC).
      type: str
      sample: "2026-11-23T15:30:00Z"
    identity:
      description: Model, engine and processor that were measured.
      type: dict
    length:
      description: Lengths that were measured, in tokens.
      type: dict
      sample: {"prompt": 512, "generated": 32, "depth": 512}
"""

import fcntl
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write
from ansible_collections.slm.copilot.plugins.module_utils._common.progress import ProgressFile
from ansible_collections.slm.copilot.plugins.module_utils._host.interruption import interrupted
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.bench import run_bench
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import (
    TRIED_CACHE_TYPES,
    Length,
    Result,
    Tuner,
    stages,
)
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.serve import serving
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.store import (
    entry,
    holding,
    present_identity,
    read_entries,
    write_file,
)
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import Agent, WorkResult, measure, slots_of

BENCH_SHARE = 0.6  # of the time, where an agent's work is timed as well
GUARD = "slm-copilot-tune.service"
# The service is started again at the latest so many seconds after the measurement should have ended.
GUARD_SECONDS = 300


def bench_runner(params: dict[str, Any], deadline: float):
    """Returns a function that runs llama-bench until the deadline."""

    def bench(arguments: list[str]) -> str:
        return run_bench(params["user"], params["engine_dir"], params["model"], arguments, deadline - time.monotonic())

    return bench


def work_of(params: dict[str, Any], result: Result, deadline: float, progress: ProgressFile) -> WorkResult:
    """Returns how long an agent's work takes; None if the arguments of llama-server are not known."""
    own = params["server_arguments"]
    if not own:
        return WorkResult()

    def serve(arguments: list[str]):
        return serving(params["user"], params["engine_dir"], params["model"], arguments, deadline)

    agent = Agent(params["prompt_tokens"], params["edit_tokens"], slots_of(own))
    usual = result.figures[0].settings
    return measure(
        serve,
        agent,
        own,
        usual,
        result.settings,
        params["speculations"],
        params["draft_model"] or "",
        lambda what: progress.update(what, 0, None, "work"),
    )


def measured(params: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    length = Length(params["prompt_tokens"], params["generated_tokens"], params["depth"])
    progress = ProgressFile(params["progress_file"])
    started = time.monotonic()
    progress.update("stopping the server", 0, None, "measurements")
    with interrupted(params["service"], GUARD, params["seconds"] + GUARD_SECONDS):
        seconds = params["seconds"] * (BENCH_SHARE if params["server_arguments"] else 1)
        tuner = Tuner(
            bench_runner(params, time.monotonic() + seconds),
            length,
            lambda what, done, total: progress.update(what, done, total, "measurements"),
        )
        result = tuner.run(params["cpu"], stages(params["cpu"], length, params["ubatch_sizes"], params["cache_types"]))
        work = work_of(params, result, started + params["seconds"], progress)
        progress.update("starting the server again", 0, None, "measurements")
    return entry(result, work, present, length, time.monotonic() - started)


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    present = present_identity(params["model"], params["engine_dir"], params["cpu"])
    with open(params["engine_dir"] + "/manifest.json", "rb") as lock:
        while True:  # one measurement at a time: two at once would measure each other
            entries = read_entries(params["path"])
            if holding(entries, params["name"], present)[0] and not params["force"]:
                return {"changed": False, "tuning": entries[params["name"]]}
            if module.check_mode:
                return {"changed": True}
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                ProgressFile(params["progress_file"]).update("another run is measuring here", 0, None, "measurements")
                time.sleep(2)
        tuning = measured(params, present)
        entries[params["name"]] = tuning
        write(params["path"], write_file(entries))
        module.set_fs_attributes_if_different(module.load_file_common_arguments(params), True)
    return {"changed": True, "tuning": tuning}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "model": {"type": "path", "required": True},
            "path": {"type": "path", "required": True},
            "engine_dir": {"type": "path", "required": True},
            "cpu": {"type": "dict", "required": True},
            "service": {"type": "str", "default": "slm-copilot.service"},
            "user": {"type": "str", "default": "slm-copilot"},
            "seconds": {"type": "int", "default": 1800},
            "prompt_tokens": {"no_log": False, "type": "int", "default": 512},
            "generated_tokens": {"no_log": False, "type": "int", "default": 32},
            "depth": {"type": "int", "default": 512},
            "ubatch_sizes": {"type": "list", "elements": "int", "default": [512, 256, 128, 1024]},
            "cache_types": {"type": "list", "elements": "str", "default": list(TRIED_CACHE_TYPES)},
            "server_arguments": {"type": "list", "elements": "list", "default": []},
            "speculations": {"type": "list", "elements": "str", "default": ["ngram-mod", "ngram-simple"]},
            "draft_model": {"type": "path"},
            "edit_tokens": {"no_log": False, "type": "int", "default": 192},
            "force": {"type": "bool", "default": False},
            "progress_file": {"type": "path"},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except CopilotError as error:
        module.fail_json(msg=str(error))
    except (OSError, KeyError) as error:
        module.fail_json(msg=f"The model cannot be measured: {error}.")


if __name__ == "__main__":
    main()
