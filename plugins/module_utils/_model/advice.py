# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Advice on models: which ones fit on a host, and their expected speed, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.plan import plan
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import USUAL_SPECULATION
from ansible_collections.slm.copilot.plugins.module_utils._model.sizes import facts_of
from ansible_collections.slm.copilot.plugins.module_utils._model.speed import (
    LONG_PROMPT,
    TURN_GENERATED,
    TURN_PROMPT,
    Expected,
    HostSpeed,
    expected,
    expected_of_size,
    speed_of,
)

MIB = 1 << 20
CONTEXT_CHECKPOINTS = 8  # the role's own default
COLUMNS = ("host", "model", "fits", "prompt t/s", "answer t/s", "prompt of 20,000, min", "warm turn, s")


@dataclass(frozen=True)
class Advice:
    """Of a model on a host.

    :param fits: slots x context; empty where it does not fit.
    :param rough: whether it follows from the size of the file alone.
    """

    fits: str
    speed: Expected | None
    rough: bool = False


def advice(entry: Mapping[str, Any], speed: HostSpeed, memory_mib: int, reserve_mib: int, slots: Any) -> Advice:
    """Returns the expected fit and speed of a model of the catalogue.

    :param entry: of the catalogue.
    :param memory_mib: of the host.
    :param reserve_mib: what of it is not for models.
    :param slots: conversations at the same time, or ``auto``.
    """
    if "sizes" not in entry or "size_gb" not in entry:
        return _rough(entry, speed, memory_mib - reserve_mib)
    facts = facts_of(entry)
    auto = {"context_size": "auto", "prompt_cache_mib": "auto", "slots": slots}
    others = {"context_checkpoints": CONTEXT_CHECKPOINTS, "speculation": USUAL_SPECULATION}
    found = plan(facts, host_memory_mib=memory_mib, reserve_mib=reserve_mib, **auto, **others)
    chosen = found["settings"]
    return Advice(f"{chosen['slots']} x {chosen['context_size']}" if found["fits"] else "", expected(facts, speed))


def _rough(entry: Mapping[str, Any], speed: HostSpeed, available_mib: int) -> Advice:
    size = entry.get("size_gb")
    if not size:
        return Advice("unknown", None, rough=True)
    memory = entry.get("ram_gb", size * 1.2) * 1e9 / MIB
    return Advice("1 x 4096" if memory <= available_mib else "", expected_of_size(size * 1e9, speed), rough=True)


def _cells(found: Advice) -> tuple[str, ...]:
    about = "~" if found.rough else ""
    if found.speed is None:
        return (found.fits, *["-"] * 4)
    fits = f"{about}{found.fits}" if found.fits else "no"
    speed = found.speed
    figures = (
        f"{speed.prompt:.0f}",
        f"{speed.generated:.1f}",
        f"{speed.long_prompt_seconds / 60:.0f}",
        f"{speed.warm_turn_seconds:.0f}",
    )
    return (fits, *(about + one for one in figures))


def advice_table(hosts: Mapping[str, Mapping[str, Any]], catalogue: Mapping[str, Mapping[str, Any]], slots: Any) -> str:
    """Returns a table for people, with a line for each model on each host.

    :param hosts: what host_speed returned, and ``reserve_mib``, by host.
    :param catalogue: the models that can be chosen.
    """
    rows: list[tuple[str, ...]] = [COLUMNS]
    for host, measured in hosts.items():
        speed = speed_of(measured["speed"])
        if speed is None:
            raise CopilotError(f"{host} was not measured; run it without check mode.")
        memory = int(measured["memory_mib"]), int(measured["reserve_mib"])
        rows += [(host, name, *_cells(advice(entry, speed, *memory, slots))) for name, entry in catalogue.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    aligned = [
        "  ".join(cell.ljust(width) if column < 3 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    ]
    return "\n".join(
        [
            *(line.rstrip() for line in aligned),
            "",
            f"fits: conversations x tokens of each. A warm turn brings {TURN_PROMPT} new tokens to a conversation of "
            f"{LONG_PROMPT:,} and gets an edit of {TURN_GENERATED}, none of which is guessed.",
            "~: nothing but the size of the file is known; sizes in the catalogue say more. unknown: neither is there.",
        ]
    )


def model_speeds(expectations: Mapping[str, Any], tuning: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the expected and the measured speed of each model, in tokens per second.

    :param expectations: what memory_plan returned, by model.
    :param tuning: what model_tune measured, by model.
    """
    found = {}
    for name, one in expectations.items():
        chosen = next((figure for figure in tuning.get(name, {}).get("figures", []) if figure["chosen"]), None)
        found[name] = {
            "expected": {kind: round(one[kind], 1) for kind in ("prompt", "generated")},
            **(
                {"measured": {kind: chosen[f"{kind}_tokens_per_second"] for kind in ("prompt", "generated")}}
                if chosen is not None
                else {}
            ),
        }
    return found
