# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memory plan for several models in llama-server's router mode, where each is a separate process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.layers import check_facts, kv_bytes_per_token, parts_of
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.plan import (
    advise,
    arithmetic,
    filled,
    find_alternatives,
    possible,
    rounded_mib,
    starts_cold,
    total_mib,
    warnings_about,
    with_headroom,
)
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import (
    Host,
    Settings,
    check_settings,
    read_host,
    read_settings,
)

ROUTER_MIB = 128  # llama-server that has no model of its own


@dataclass(frozen=True)
class _Candidate:
    """One of several models."""

    name: str
    gguf: Mapping[str, Any]
    pinned: bool
    settings: Settings
    auto: frozenset[str]
    warnings: list[str]

    @property
    def own(self) -> int:
        return total_mib(self.gguf, self.settings)


def _read_models(models: Iterable[Mapping[str, Any]]) -> list[_Candidate]:
    candidates: list[_Candidate] = []
    for model in models:
        rest = dict(model)
        name, gguf, pinned = str(rest.pop("name", "")), rest.pop("gguf", {}), rest.pop("pinned", False)
        if not name or name in [one.name for one in candidates]:
            raise CopilotError(f"model {len(candidates) + 1} has the name {name!r}; give each a name of its own.")
        check_facts(gguf, f"{name}: ")
        try:
            asked, auto = read_settings(rest)
            settings = replace(possible(gguf, asked), save_slots=False)
            warnings = warnings_about(asked, settings, "context_size" in auto, name)
            warnings += [starts_cold("llama-server serves several models")] * asked.save_slots
            candidates.append(_Candidate(name, gguf, bool(pinned), settings, auto, warnings))
            kv_bytes_per_token(gguf, settings)
        except CopilotError as problem:
            raise CopilotError(f"{name}: {problem}") from None
    if not candidates:
        raise CopilotError("there are no models to plan for; give at least one.")
    return candidates


def _loaded_mib(candidates: list[_Candidate], count: int) -> int:
    """Of the pinned models and the largest others, ``count`` together, and the router."""
    others = sorted((one.own for one in candidates if not one.pinned), reverse=True)
    pinned = [one.own for one in candidates if one.pinned]
    return ROUTER_MIB + sum(pinned) + sum(others[: max(count - len(pinned), 0)])


def _most_loaded(candidates: list[_Candidate], available: int, limit: int) -> int:
    """How many can be loaded at once whichever they are, the pinned ones always. At least one is, or nothing works."""
    least = max(sum(one.pinned for one in candidates), 1)
    most = max(min(limit or len(candidates), len(candidates)), least)
    return next((count for count in range(most, least, -1) if _loaded_mib(candidates, count) <= available), least)


def _beside_pinned(one: _Candidate, candidates: list[_Candidate], host: Host) -> int:
    """What this one may take, in MiB."""
    return host.available_mib - ROUTER_MIB - sum(other.own for other in candidates if other.pinned and other.name != one.name)


def _verdict(candidates: list[_Candidate], count: int, host: Host) -> str:
    problems = []
    for one in candidates:
        free = _beside_pinned(one, candidates, host)
        if one.own > free:
            beside = " beside the pinned models" if any(other.pinned for other in candidates if other.name != one.name) else ""
            advice = advise(one.gguf, one.settings, Host(free, 0), find_alternatives(one.gguf, one.settings, free))
            problems.append(f"For {one.name} there are {free} MiB{beside}, {one.own - free} MiB too few. {advice}")
    if problems:
        return " ".join(problems)
    if count == len(candidates):
        return "All can be loaded at once."
    return f"{count} of {len(candidates)} can be loaded at once."


def plan_models(
    models: Iterable[Mapping[str, Any]], *, host_memory_mib: int, reserve_mib: int = 2048, most_loaded: int = 0
) -> dict[str, Any]:
    """The memory plan for several models under llama-server's router, which loads and unloads them on demand.

    Each model is a dict with ``name``, ``gguf`` (of ``_gguf.read``), ``pinned`` (always loaded), and any of the fields
    of ``Settings``. ``most_loaded`` says that no more than so many are to be loaded at once, though more would fit; 0
    means as many as fit. What is ``auto`` gets an equal share of what is left when as many as can be are loaded.

    Returns ``models``, by name: ``settings`` as they are to be used, ``mib`` (the parts and their total), ``pinned`` and
    ``fits`` (this one, beside the pinned ones); ``fits``, whether all of these do; ``most_loaded``, how many can be
    loaded at once, whichever they are; ``memory_max_mib`` for systemd; ``explanation`` for people; and ``warnings``, as
    ``plan`` has them.
    """
    host = read_host(host_memory_mib, reserve_mib)
    check_settings({"most_loaded": most_loaded})
    candidates = _read_models(models)
    available = host.available_mib
    count = _most_loaded(candidates, available, most_loaded)
    share = max(available - _loaded_mib(candidates, count), 0) // count
    # What cannot be loaded at all is not to look worse for what it would have got.
    shares = [share if one.own <= _beside_pinned(one, candidates, host) else 0 for one in candidates]
    candidates = [
        replace(one, settings=filled(one.gguf, one.settings, one.auto, one.own + extra)) for one, extra in zip(candidates, shares)
    ]
    planned: dict[str, Any] = {}
    texts = []
    for one in candidates:
        mib = {name: rounded_mib(size) for name, size in parts_of(one.gguf, one.settings).items()}
        planned[one.name] = {
            "settings": asdict(one.settings),
            "mib": {**mib, "total": one.own},
            "pinned": one.pinned,
            "fits": one.own <= _beside_pinned(one, candidates, host),
        }
        texts.append(f"{one.name}{' (pinned)' if one.pinned else ''}: {arithmetic(one.gguf, one.settings, mib)} = {one.own} MiB.")
    texts.append(f"The host has {host.host_memory_mib} MiB, less {host.reserve_mib} of reserve and {ROUTER_MIB} for the router.")
    return {
        "models": planned,
        "fits": all(model["fits"] for model in planned.values()),
        "most_loaded": count,
        "memory_max_mib": with_headroom(_loaded_mib(candidates, count), host),
        "explanation": " ".join([*texts, _verdict(candidates, count, host)]),
        "warnings": list(dict.fromkeys(warning for one in candidates for warning in one.warnings)),
    }
