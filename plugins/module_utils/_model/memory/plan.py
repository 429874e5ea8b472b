# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memory plan for one model: what fits, what ``auto`` becomes, and what to change where it does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.layers import (
    CELL_PADDING,
    MIB,
    check_facts,
    drafting_slot,
    kv_bytes_per_token,
    padded,
    parts_of,
    slot_bytes,
    why_slots_are_lost,
    windowed_layers,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import (
    LEAST_CONTEXT,
    Host,
    Settings,
    read_host,
    read_settings,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import DRAFT_LAYERS, DRAFT_MODEL, OFF, methods

CONTEXT_STEP, PROMPT_CACHE_STEP = 1024, 256
MOST_SLOTS = 4  # of auto: more conversations at a time make each too slow on a CPU
USUAL_SLOTS = 2  # of auto, while the context is sought
CONVERSATION_MIB = 8192  # of auto: more of a prompt cache is not set aside while the context is sought
HEADROOM_SHARE, HEADROOM_MIB = 10, 512  # of MemoryMax above the estimate: a tenth, at least this


def rounded_mib(size: int) -> int:
    return -(-size // MIB)


def total_mib(gguf: Mapping[str, Any], settings: Settings, **changes: Any) -> int:
    """Of one model, without the host's reserve."""
    return sum(map(rounded_mib, parts_of(gguf, replace(settings, **changes)).values()))


def _conversation_mib(gguf: Mapping[str, Any], settings: Settings) -> int:
    """Of a prompt cache that holds one conversation of full length: llama-server keeps no prompt that is larger."""
    slots = slot_bytes(gguf, settings), drafting_slot(gguf, settings)
    size = rounded_mib(sum(slot.kv_cache + slot.state + slot.checkpoint * settings.context_checkpoints for slot in slots))
    return min(size + -size % PROMPT_CACHE_STEP, CONVERSATION_MIB)


def filled(gguf: Mapping[str, Any], settings: Settings, auto: frozenset[str], available: int) -> Settings:
    """The settings with what is ``auto`` as large as fits: first the context, then the slots, then the prompt cache.

    While the first is sought the others count with what a team works well with: two slots, and a prompt cache for one
    conversation; where not even that fits, two slots; then one. What fits at no size keeps its least.
    """

    def trial(context: int, slots: int, keeps: bool) -> Settings:
        changed = replace(settings, context_size=context, slots=slots)
        if "prompt_cache_mib" in auto:
            changed = replace(changed, prompt_cache_mib=_conversation_mib(gguf, changed) if keeps else 0)
        return changed

    def fits(candidate: Settings) -> bool:
        return total_mib(gguf, candidate) <= available

    def grown(context: int, slots: int, keeps: bool) -> Settings:
        if "slots" in auto:
            slots = next((more for more in range(MOST_SLOTS, slots, -1) if fits(trial(context, more, keeps))), slots)
        chosen = trial(context, slots, keeps)
        if "prompt_cache_mib" in auto:
            rest = available - total_mib(gguf, chosen, prompt_cache_mib=0)
            chosen = replace(chosen, prompt_cache_mib=rest // PROMPT_CACHE_STEP * PROMPT_CACHE_STEP)
        return chosen

    contexts: Iterable[int] = (settings.context_size,)
    if "context_size" in auto:
        longest = gguf["context_length"] or settings.context_size
        contexts = (*range(longest // CONTEXT_STEP * CONTEXT_STEP, LEAST_CONTEXT, -CONTEXT_STEP), min(longest, LEAST_CONTEXT))
    for slots in (USUAL_SLOTS, 1) if "slots" in auto else (settings.slots,):
        for keeps in (True, False):
            found = next((context for context in contexts if fits(trial(context, slots, keeps))), 0)
            if found:
                return grown(found, slots, keeps)
    return settings


def find_alternatives(gguf: Mapping[str, Any], settings: Settings, available: int) -> list[dict[str, Any]]:
    """Single changes that would make it fit, each as small as it can be."""

    def fits(change: dict[str, Any]) -> bool:
        return total_mib(gguf, settings, **change) <= available

    lower = {
        "context_size": range(padded(settings.context_size) - CELL_PADDING, LEAST_CONTEXT - 1, -CELL_PADDING),
        "slots": range(settings.slots - 1, 0, -1),
        "prompt_cache_mib": range(
            (settings.prompt_cache_mib - 1) // PROMPT_CACHE_STEP * PROMPT_CACHE_STEP, -1, -PROMPT_CACHE_STEP
        ),
        "context_checkpoints": range(settings.context_checkpoints - 1, -1, -1),
    }
    found: list[dict[str, Any]] = []
    for name, values in lower.items():
        value = next((value for value in values if fits({name: value})), None)
        if value is not None:
            found.append({name: value})
    larger_types = {"f32", "f16", "bf16"} & {settings.cache_type_k, settings.cache_type_v}
    lengths_allow = not any(gguf[name + suffix] % 32 for name in ("key_length", "value_length") for suffix in ("", "_swa"))
    smaller: dict[str, Any] = {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
    if larger_types and lengths_allow and settings.flash_attention != "off" and fits(smaller):
        found.append(smaller)
    return found


def advise(gguf: Mapping[str, Any], settings: Settings, host: Host, alternatives: list[dict[str, Any]]) -> str:
    if alternatives:
        texts = [" and ".join(f"{name} {value}" for name, value in change.items()) for change in alternatives]
        return f"With one change it fits: {'; or '.join(texts)}."
    context = min(LEAST_CONTEXT, settings.context_size)
    least = replace(settings, slots=1, context_size=context, prompt_cache_mib=0, context_checkpoints=0)
    total = total_mib(gguf, least) + host.reserve_mib
    if total <= host.host_memory_mib:
        return f"It takes several changes: 1 slot of {context} tokens without prompt cache and checkpoints takes {total} MiB."
    return f"Take a smaller model, or a host with at least {total} MiB, which is for 1 slot of {context} tokens."


def arithmetic(gguf: Mapping[str, Any], settings: Settings, mib: Mapping[str, int]) -> str:
    slots = "1 slot" if settings.slots == 1 else f"{settings.slots} slots"
    per_token = kv_bytes_per_token(gguf, settings) / 1024
    terms = [f"weights {mib['weights']}"]
    if per_token or not mib["recurrent_state"]:
        size = f", sliding window {gguf['sliding_window']}" if any(windowed_layers(gguf)) else f" of {per_token:g} KiB"
        terms.append(f"KV cache {mib['kv_cache']} ({slots} of {settings.context_size} tokens{size})")
    if mib["recurrent_state"]:
        terms.append(f"recurrent state {mib['recurrent_state']} ({slots})")
    if mib["checkpoints"]:
        terms.append(f"checkpoints {mib['checkpoints']} ({settings.context_checkpoints} for each slot)")
    terms += [f"compute {mib['compute']}", f"prompt cache {mib['prompt_cache']}"]
    optional = {"saving one slot": mib["saved_slot"], "drafts": mib["drafts"]}
    return " + ".join(terms + [f"{name} {size}" for name, size in optional.items() if size])


def with_headroom(own: int, host: Host) -> int:
    """Of what the models take themselves, in MiB. The reserve stays the host's; what does not fit is not started anyway."""
    return min(own + max(own // HEADROOM_SHARE, HEADROOM_MIB), max(host.available_mib, own))


def possible(gguf: Mapping[str, Any], settings: Settings) -> Settings:
    """The settings without what llama-server does not do, as it only says in its log.

    No longer a context than the model was trained for, and no guesses by layers that the file does not have.
    """
    if DRAFT_MODEL in methods(settings.speculation) and "draft" not in gguf:
        raise CopilotError(f"speculation is {settings.speculation!r}, and there is no draft model: give its draft_path.")
    longest = int(gguf["context_length"] or settings.context_size)
    used = [name for name in methods(settings.speculation) if name != DRAFT_LAYERS or gguf["draft_layers"]]
    return replace(settings, context_size=min(settings.context_size, longest), speculation=",".join(used) or OFF)


def warnings_about(asked: Settings, chosen: Settings, context_is_auto: bool, name: str = "the model") -> list[str]:
    warnings = []
    if chosen.speculation != asked.speculation:
        warnings.append(f"Speculation by {DRAFT_LAYERS} is off, since {name} has no layers for it.")
    if context_is_auto or chosen.context_size >= asked.context_size:
        return warnings
    return [
        *warnings,
        f"A context of {asked.context_size} tokens was asked for, but {name} was trained for {chosen.context_size}: each "
        f"conversation has {chosen.context_size}. Lower copilot_context_size, or take another model.",
    ]


def starts_cold(reason: str) -> str:
    """A warning that slots cannot be saved."""
    return f"copilot_save_slots has no effect, since {reason}. After a restart, conversations are processed again."


def plan(gguf: Mapping[str, Any], *, host_memory_mib: int, reserve_mib: int = 2048, **settings: Any) -> dict[str, Any]:
    """The memory plan for one model: the dict of ``_gguf.read``, and the fields of ``Host`` and ``Settings``.

    With a draft model, ``gguf`` has the dict of that model as ``draft``.
    ``context_size``, ``slots`` and ``prompt_cache_mib`` may be ``auto``: the largest that fit, in this order.

    Returns ``settings`` as they are to be used; ``bytes`` and ``mib`` (each part rounded up) with the keys weights,
    kv_cache, recurrent_state, checkpoints, compute, prompt_cache, saved_slot, drafts, reserve, total and host_memory;
    ``kv_bytes_per_token``; ``fits``; ``alternatives``, each a dict of settings that would fit; ``memory_max_mib`` for
    systemd; ``explanation``, one line for people; and ``warnings``, about what was asked for and cannot be had: a context
    longer than the model was trained for, layers that draft tokens, or saved slots. Raises CopilotError for settings out of
    range.
    """
    check_facts(gguf)
    host = read_host(host_memory_mib, reserve_mib)
    asked, auto = read_settings(settings)
    least = possible(gguf, asked)
    warnings = warnings_about(asked, least, "context_size" in auto)
    if asked.save_slots and (reason := why_slots_are_lost(gguf, least)):
        least = replace(least, save_slots=False)
        warnings.append(starts_cold(reason))
    chosen = filled(gguf, least, auto, host.available_mib)
    parts = {**parts_of(gguf, chosen), "reserve": host.reserve_mib * MIB}
    mib = {name: rounded_mib(size) for name, size in parts.items()}
    mib["total"], mib["host_memory"] = sum(mib.values()), host.host_memory_mib
    missing = mib["total"] - host.host_memory_mib
    alternatives = find_alternatives(gguf, chosen, host.available_mib) if missing > 0 else []
    sums = f"{arithmetic(gguf, chosen, mib)} + reserve {host.reserve_mib} = {mib['total']} MiB"
    if missing > 0:
        verdict = f", but the host has {host.host_memory_mib} MiB: {missing} MiB too few. "
        verdict += advise(gguf, chosen, host, alternatives)
    else:
        verdict = f" of {host.host_memory_mib} MiB: fits, {-missing} MiB stay free."
    return {
        "settings": asdict(chosen),
        "bytes": {**parts, "total": sum(parts.values()), "host_memory": host.host_memory_mib * MIB},
        "mib": mib,
        "kv_bytes_per_token": kv_bytes_per_token(gguf, chosen),
        "fits": missing <= 0,
        "alternatives": alternatives,
        "memory_max_mib": with_headroom(mib["total"] - host.reserve_mib, host),
        "explanation": sums + verdict,
        "warnings": warnings,
    }
