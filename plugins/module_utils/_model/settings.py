# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The models of a host: reads ``copilot_models``, and derives llama-server's settings.

A single model is served by llama-server itself. With several models, llama-server runs in router mode, and starts and stops a
separate process for each model.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError, kind_of
from ansible_collections.slm.copilot.plugins.module_utils._common.names import MODEL_ID
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url

# A setting with this value becomes the largest that fits.
AUTO = "auto"
OFF = "off"

# KV cache types: name -> (values in a block, bytes of a block).
CACHE_TYPES = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}

# What an entry may set, besides id: name -> (least, most, whether auto will do), or the choices.
NUMBERS = {
    "context_size": (256, 4194304, True),
    "slots": (1, 256, True),
    "prompt_cache_mib": (0, 1048576, True),
    "idle_seconds": (0, 31536000, False),
}
TYPES = ("cache_type_k", "cache_type_v")
ENTRY_KEYS = ("id", *NUMBERS, *TYPES, "pinned")
OF_THE_PLAN = ("context_size", "slots", "prompt_cache_mib", *TYPES)
DEFAULT_UBATCH = 512

# How llama-server guesses tokens, to check them all at once, and how many at most. The first is what holds anywhere: it guesses
# long runs of text that it has seen before, or nothing. The last two compute guesses, with a second model or layers of the model.
DRAFT_MODEL, DRAFT_LAYERS = "draft-simple", "draft-mtp"
COMPUTED = {DRAFT_MODEL, DRAFT_LAYERS}
SPECULATION = {
    "ngram-mod": 64,
    "ngram-simple": 48,
    "ngram-map-k": 48,
    "ngram-map-k4v": 48,
    "ngram-cache": 8,
    DRAFT_MODEL: 3,
    DRAFT_LAYERS: 3,
}
USUAL_SPECULATION = "ngram-mod"
USUAL_LOAD_MODE = "mmap"


def served(models: Any, model: str) -> list[dict[str, Any]]:
    """Returns the models of a host.

    :param models: ``copilot_models``: ids, or mappings with an id and what differs for this one.
    :param model: the one that is served when that list is empty.
    :returns: dicts with ``id``, ``pinned``, ``idle_seconds`` (None where it is not said) and ``settings``, which has what an
        entry says about memory.
    :raises CopilotError: when the list is not of this form.
    """
    problems = model_problems(models)
    if problems:
        raise CopilotError(" ".join(problems))
    entries = [{"id": one} if isinstance(one, str) else dict(one) for one in models] or [{"id": model}]
    return [
        {
            "id": one["id"],
            "pinned": one.get("pinned", False),
            "idle_seconds": one.get("idle_seconds"),
            "settings": {name: one[name] for name in OF_THE_PLAN if name in one},
        }
        for one in entries
    ]


def slots_of(models: Iterable[Mapping[str, Any]], slots: Any) -> dict[str, int]:
    """Returns model -> number of slots; 0 for ``auto``, which only llama-server knows.

    :param models: what ``served`` returns.
    :param slots: what holds for a model that says nothing.
    """
    wanted = {str(one["id"]): one["settings"].get("slots", slots) for one in models}
    return {name: 0 if number == AUTO else int(number) for name, number in wanted.items()}


def model_problems(models: Any) -> list[str]:
    """Returns the problems of ``copilot_models``, one or two sentences each."""
    if not isinstance(models, list):
        return [f"copilot_models is {kind_of(models)}: give a list of ids from the catalogue, or of mappings with an id."]
    problems = []
    seen: set[str] = set()
    for index, entry in enumerate(models):
        where = f"copilot_models[{index}]"
        one = {"id": entry} if isinstance(entry, str) else entry
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            problems.append(
                f"{where} has no id: give an id from the catalogue, or a mapping such as {{id: mistral-7b, slots: 1}}."
            )
            continue
        name = one["id"]
        if not MODEL_ID.fullmatch(name):
            problems.append(f"{where}.id is {name!r}: use letters, digits, dots, dashes and underscores.")
        elif name in seen:
            problems.append(f"{where}.id is {name!r}, which an earlier entry has too: name each model once.")
        seen.add(name)
        problems.extend(_entry_problems(f"{where} ({name})", one))
    return problems


def _entry_problems(where: str, entry: Mapping[str, Any]) -> list[str]:
    problems = []
    unknown = sorted(set(map(str, entry)) - set(ENTRY_KEYS))
    if unknown:
        problems.append(f"{where} has unknown keys ({', '.join(unknown)}): known are {', '.join(ENTRY_KEYS)}.")
    for key, (low, high, auto) in NUMBERS.items():
        value = entry.get(key, low)
        if (auto and value == AUTO) or (not isinstance(value, bool) and isinstance(value, int) and low <= value <= high):
            continue
        problems.append(f"{where}.{key} is {value!r}: give a whole number from {low} to {high}{', or auto' if auto else ''}.")
    for key in TYPES:
        if key in entry and entry[key] not in CACHE_TYPES:
            problems.append(f"{where}.{key} is {entry[key]!r}: choose one of {', '.join(CACHE_TYPES)}.")
    if not isinstance(entry.get("pinned", False), bool):
        problems.append(f"{where}.pinned is {entry['pinned']!r}: give true or false.")
    elif entry.get("pinned") and entry.get("idle_seconds"):
        problems.append(f"{where} is pinned, so that it is never unloaded, and has idle_seconds: remove one of the two.")
    return problems


def choice_problems(models: Any, model: Any, slots_must_be_clear: bool) -> list[str]:
    """Returns the problems of ``copilot_models`` in combination with the other settings.

    :param model: ``copilot_model``, which must be one of them where both are given.
    :param slots_must_be_clear: whether balancers share out the slots.
    """
    problems = model_problems(models)
    if problems or not models:
        return problems
    entries = served(models, "")
    names = [one["id"] for one in entries]
    if model not in names:
        problems.append(
            f"copilot_model is {model!r}, which copilot_models ({', '.join(names)}) has not: remove it, or add it there."
        )
    problems.extend(
        f"copilot_models ({one['id']}).slots is 'auto', and there are balancers, which must know the number: give one from 1 to "
        "256."
        for one in entries
        if slots_must_be_clear and one["settings"].get("slots") == AUTO
    )
    return problems


def methods(speculation: str) -> list[str]:
    """Returns the methods of speculation that a setting combines, in its order; none for ``off``."""
    return [] if speculation == OFF else speculation.split(",")


def speculation_problems(name: str, value: Any) -> list[str]:
    """Returns the problems of a setting with that name that selects the methods of speculation."""
    if value is False:
        return [f'{name} is false, which is how YAML reads off: write {name}: "off", with quotes.']
    if isinstance(value, str) and (value in (AUTO, OFF) or {*value.split(",")} <= SPECULATION.keys()):
        found = methods(value)
        if {*found} >= COMPUTED:
            return [f"{name} is {value!r}: {DRAFT_MODEL} and {DRAFT_LAYERS} exclude each other, remove one."]
        return [f"{name} is {value!r}: name each method once."] if len({*found}) < len(found) else []
    choices = ", ".join((AUTO, OFF, *SPECULATION))
    return [f"{name} is {value!r}: choose one of {choices}, or several methods with commas and without spaces."]


def usual_speculation(entry: Mapping[str, Any]) -> str:
    """Returns the methods of speculation for a model of the catalogue that was not measured on the host."""
    return str(entry.get("speculation") or USUAL_SPECULATION + f",{DRAFT_MODEL}" * ("draft_model" in entry))


def with_drafts(ids: Iterable[str], catalogue: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the models, and then the draft models that the catalogue names for them, each once."""
    wanted = list(ids)
    return list(
        dict.fromkeys([*wanted, *(catalogue[one]["draft_model"] for one in wanted if "draft_model" in catalogue.get(one, {}))])
    )


def usual_speculations(
    ids: Iterable[str], catalogue: Mapping[str, Mapping[str, Any]], paths: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Returns by model its usual methods of speculation, ``usual``, and the path of its draft model, ``draft``; empty for none.

    :param paths: what ``file_paths`` returns, for the draft models, too.
    """
    found = {one: catalogue.get(one, {}) for one in ids}
    return {
        one: {"usual": usual_speculation(entry), "draft": paths.get(entry.get("draft_model", ""), "")}
        for one, entry in found.items()
    }


def file_paths(ids: Iterable[str], catalogue: Mapping[str, Mapping[str, Any]], directory: str) -> dict[str, str]:
    """Returns the path of each model on a host.

    :raises CopilotError: when two models would have the same one.
    """
    paths: dict[str, str] = {}
    for name in ids:
        entry = catalogue.get(name, {})
        source = entry.get("file") or urlsplit(shown_url(str(entry.get("url", "")))).path or entry.get("src") or "unknown"
        path = posixpath.join(directory, posixpath.basename(str(source)))
        other = next((one for one, there in paths.items() if there == path), None)
        if other and path != posixpath.join(directory, "unknown"):
            raise CopilotError(
                f"the models {other} and {name} have files of the same name ({posixpath.basename(path)}), so that one would "
                "overwrite the other: rename one file at its source, and correct its entry in copilot_catalogue."
            )
        paths[name] = path
    return paths


def resolve(
    models: Iterable[Mapping[str, Any]],
    paths: Mapping[str, str],
    settings: Mapping[str, Any],
    tuned: Mapping[str, Mapping[str, Any]],
    cpu: Mapping[str, Any],
    speculations: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """Returns each model with all settings: its own, otherwise those for all, otherwise measured ones, otherwise defaults.

    :param models: what ``served`` returns.
    :param paths: the GGUF files, by id.
    :param settings: those of the role llama_server, without its prefix.
    :param tuned: what was measured, by id.
    :param cpu: the facts of cpu_info.
    :param speculations: what ``usual_speculations`` returns.
    :returns: dicts with ``name``, ``pinned``, ``idle_seconds``, ``plan`` (the model as the module memory_plan takes it) and
        ``rest`` (settings that do not decide about memory).
    """
    return [
        _resolved(one, paths[one["id"]], settings, tuned.get(one["id"], {}), cpu, speculations.get(one["id"], {}))
        for one in models
    ]


def _speculation(wanted: str, tuned: Mapping[str, Any], drafts: Mapping[str, str]) -> str:
    """Returns the methods of speculation of a model. A measurement counts as long as its draft model is there."""
    usual = drafts.get("usual", USUAL_SPECULATION)
    measured = tuned.get("speculation", usual)
    if DRAFT_MODEL in methods(measured) and not drafts.get("draft"):
        measured = usual
    return str(measured) if wanted == AUTO else wanted


def _resolved(
    model: Mapping[str, Any],
    path: str,
    settings: Mapping[str, Any],
    tuned: Mapping[str, Any],
    cpu: Mapping[str, Any],
    drafts: Mapping[str, str],
) -> dict[str, Any]:
    own = {**settings, **model["settings"]}
    set_threads, set_batch = int(own["threads"]), int(own["threads_batch"])
    threads = min(set_threads or tuned.get("threads", 0) or cpu["usable_cores"], cpu["usable_cpus"])
    batch = set_batch or (0 if set_threads else tuned.get("threads_batch", 0)) or threads
    flash = own["flash_attention"]
    speculation = _speculation(own["speculation"], tuned, drafts)
    types = {}
    for key in TYPES:
        quantisable = key == "cache_type_k" or flash != "off"
        types[key] = own[key] if own[key] != AUTO else (tuned.get(key, "f16") if quantisable else "f16")
    memory = {
        "slots": str(own["slots"]),
        "context_size": str(own["context_size"]),
        "prompt_cache_mib": str(own["prompt_cache_mib"]),
        **types,
        "context_checkpoints": int(own["context_checkpoints"]),
        "ubatch": int(own["ubatch_size"]) or tuned.get("ubatch_size", DEFAULT_UBATCH),
        "flash_attention": tuned.get("flash_attention", AUTO) if flash == AUTO else flash,
        "load_mode": tuned.get("load_mode", USUAL_LOAD_MODE) if own["load_mode"] == AUTO else own["load_mode"],
        "speculation": speculation,
    }
    idle = model["idle_seconds"]
    return {
        "name": model["id"],
        "pinned": model["pinned"],
        "idle_seconds": 0 if model["pinned"] else int(own["idle_seconds"] if idle is None else idle),
        "plan": {
            "name": model["id"],
            "path": path,
            "draft_path": drafts.get("draft", "") if DRAFT_MODEL in methods(speculation) else "",
            "pinned": model["pinned"],
            "settings": memory,
        },
        "rest": {
            "threads": threads,
            "threads_batch": batch,
            "batch_size": int(own["batch_size"]),
            "slot_prompt_similarity": float(own["slot_prompt_similarity"]),
            "numa": tuned.get("numa", "off") if own["numa"] == AUTO else own["numa"],
        },
    }


def planned_settings(resolved: Iterable[Mapping[str, Any]], plan: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Returns the settings of the plan by model; as they are set where there is no plan, as of a bare host in check mode."""
    if plan is None:
        return {one["name"]: one["plan"]["settings"] for one in resolved}
    if "models" in plan:
        return {name: dict(one["settings"]) for name, one in plan["models"].items()}
    return {one["name"]: dict(plan["settings"]) for one in resolved}


def plan_with_context(plan: Mapping[str, Any], contexts: Mapping[str, int]) -> dict[str, Any]:
    """Returns a model of a memory plan with another context, where ``contexts`` has one for it."""
    changed = contexts.get(plan["name"], plan["settings"]["context_size"])
    return {**plan, "settings": {**plan["settings"], "context_size": str(changed)}}


def files(found: Iterable[Mapping[str, Any]], paths: Mapping[str, str]) -> list[str]:
    """Returns a line for each file: its size, and of which model it is.

    :param found: dicts with ``path`` and ``size``.
    :param paths: where the models are, by id.
    """
    names = {path: name for name, path in paths.items()}
    there = sorted(found, key=lambda one: str(one["path"]))
    lines = [
        f"{int(one['size']) / 1e9:6.2f} GB  {one['path']}  {names.get(one['path'], '(no model of this host)')}" for one in there
    ]
    missing = sorted(set(paths.values()) - {one["path"] for one in there})
    return lines + [f"missing    {path}  {names[path]}" for path in missing]
