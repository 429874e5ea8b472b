# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of llama-server that decide about memory, and the host that it is planned for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import (
    AUTO,
    CACHE_TYPES,
    OFF,
    SPECULATION,
    methods,
    speculation_problems,
)

LEAST_CONTEXT = 4096  # no agent works with fewer tokens, so none are proposed
AUTO_SETTINGS = ("context_size", "slots", "prompt_cache_mib")  # in the order in which they are decided
CHOICES = {
    "cache_type_k": tuple(CACHE_TYPES),
    "cache_type_v": tuple(CACHE_TYPES),
    "flash_attention": ("auto", "on", "off"),
    "load_mode": ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"),
}


@dataclass(frozen=True)
class Settings:
    """Settings of llama-server that decide about the memory of one model."""

    slots: int = 1
    context_size: int = 32768  # tokens for each slot
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    prompt_cache_mib: int = 8192  # what llama-server takes when told nothing
    context_checkpoints: int = 32  # for each slot; likewise
    ubatch: int = 512
    flash_attention: str = "auto"
    load_mode: str = "mmap"
    speculation: str = OFF  # methods of it, with commas
    save_slots: bool = False  # while it restarts

    @property
    def drafted_tokens(self) -> int:
        """Guessed at a time for each slot; 0: there is no speculation."""
        return max((SPECULATION[name] for name in methods(self.speculation)), default=0)


@dataclass(frozen=True)
class Host:
    """The memory of the host, and the part that is not available to models, in MiB."""

    host_memory_mib: int
    reserve_mib: int = 2048

    @property
    def available_mib(self) -> int:
        return self.host_memory_mib - self.reserve_mib


SWITCHES = ("save_slots",)
LOWEST = {"slots": 1, "context_size": 1, "ubatch": 1, "host_memory_mib": 1}


def check_settings(values: Mapping[str, Any], where: str = "") -> None:
    for name, value in values.items():
        if name in CHOICES:
            if value not in CHOICES[name]:
                raise CopilotError(f"{where}{name} is {value!r}; give one of {', '.join(CHOICES[name])}.")
        elif name == "speculation":
            if problems := speculation_problems(f"{where}{name}", value):
                raise CopilotError(problems[0])
        elif name in SWITCHES:
            if not isinstance(value, bool):
                raise CopilotError(f"{where}{name} is {value!r}; give true or false.")
        elif isinstance(value, bool) or not isinstance(value, int) or value < LOWEST.get(name, 0):
            word = f" or {AUTO}" if name in AUTO_SETTINGS else ""
            raise CopilotError(f"{where}{name} is {value!r}; give a whole number of at least {LOWEST.get(name, 0)}{word}.")


def read_host(host_memory_mib: Any, reserve_mib: Any) -> Host:
    check_settings({"host_memory_mib": host_memory_mib, "reserve_mib": reserve_mib})
    return Host(host_memory_mib, reserve_mib)


def read_settings(values: Mapping[str, Any], where: str = "") -> tuple[Settings, frozenset[str]]:
    """The settings, and the names of those that are to be found; these have the least value."""
    unknown = sorted(values.keys() - {field.name for field in fields(Settings)})
    if unknown:
        known = ", ".join(field.name for field in fields(Settings))
        raise CopilotError(f"{where}there is no setting {', '.join(unknown)}; known are {known}.")
    auto = frozenset(name for name in AUTO_SETTINGS if values.get(name) == AUTO)
    least = {"context_size": LEAST_CONTEXT, "slots": 1, "prompt_cache_mib": 0}
    settings = Settings(**{**values, **{name: least[name] for name in auto}})
    check_settings(asdict(settings), where)
    return settings, auto
