# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The arguments of llama-server for one model, and the presets for router mode, with a section for each model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import AUTO, DRAFT_MODEL, OFF, methods

# How long an unloaded model may take to end, in seconds. Told to, it computes nothing more, but waits for clients of cut answers.
STOP_TIMEOUT = 5


def _number(value: Any) -> int:
    return 0 if value == AUTO else int(value)


def arguments(resolved: Mapping[str, Any], planned: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Returns the arguments of llama-server for this model, with their values."""
    memory, rest = planned[resolved["name"]], resolved["rest"]
    slots = _number(memory["slots"])
    values = {
        # llama-server shares --ctx-size between its slots
        "--ctx-size": _number(memory["context_size"]) * slots,
        "--parallel": slots,
        "--threads": rest["threads"],
        "--threads-batch": rest["threads_batch"],
        "--batch-size": rest["batch_size"],
        "--ubatch-size": memory["ubatch"],
        "--cache-type-k": memory["cache_type_k"],
        "--cache-type-v": memory["cache_type_v"],
        "--flash-attn": memory["flash_attention"],
        "--cache-ram": _number(memory["prompt_cache_mib"]),
        "--ctx-checkpoints": memory["context_checkpoints"],
        "--slot-prompt-similarity": rest["slot_prompt_similarity"],
        "--load-mode": memory["load_mode"],
        **({"--numa": rest["numa"]} if rest["numa"] != "off" else {}),
        **({"--spec-type": memory["speculation"]} if memory["speculation"] != OFF else {}),
        **({"--model-draft": resolved["plan"]["draft_path"]} if DRAFT_MODEL in methods(memory["speculation"]) else {}),
    }
    return [["--model", resolved["plan"]["path"]], *([name, str(value)] for name, value in values.items())]


def loaded_at_start(resolved: Iterable[Mapping[str, Any]]) -> list[str]:
    """The pinned models; and the first one, so that a start that succeeds has shown that a model answers."""
    everything = list(resolved)
    return [one["name"] for index, one in enumerate(everything) if one["pinned"] or index == 0]


def presets(resolved: Iterable[Mapping[str, Any]], planned: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the presets for llama-server in router mode, in its INI format."""
    everything = list(resolved)
    at_start = loaded_at_start(everything)
    lines = ["version = 1"]
    for one in everything:
        lines += ["", f"[{one['name']}]"]
        lines += [f"{name[2:]} = {value}" for name, value in arguments(one, planned)]
        if one["idle_seconds"]:
            lines.append(f"sleep-idle-seconds = {one['idle_seconds']}")
        lines.append(f"stop-timeout = {STOP_TIMEOUT}")
        if one["pinned"]:
            lines.append("tags = pinned")
        if one["name"] in at_start:
            lines.append("load-on-startup = true")
    return "\n".join(lines) + "\n"


def with_context(text: str, model: str, context_size: int) -> tuple[str, int]:
    """Returns presets in which a model has another context for each slot, and the number of its slots.

    :raises CopilotError: when the presets have no such model.
    """
    section, slots, at = "", 1, -1
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if found := re.fullmatch(r"\[(.+)\]", line.strip()):
            section = found[1]
        elif section == model:
            key, _equals, value = (part.strip() for part in line.partition("="))
            if key == "ctx-size":
                at = number
            elif key == "parallel":
                slots = int(value)
    if at < 0:
        raise CopilotError(f"the presets have no model {model!r} with a ctx-size: run site.yml to write them again.")
    lines[at] = f"ctx-size = {context_size * slots}"
    return "\n".join(lines) + "\n", slots
