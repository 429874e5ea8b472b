# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file with the measurements of a host, and whether they are still valid."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import Length, Result, Settings
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import WorkResult

VERSION = 1  # of the file that keeps the results

# What of the processor decides whether earlier figures still hold.
CPU_FACTS = ("model_name", "llama_cpp_variant", "usable_cpus", "usable_cores")


def identity(model_file: str, model_bytes: int, engine: str, cpu: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured. The measurements are valid as long as all of it is unchanged.

    :param engine: the checksum of the engine's manifest.
    """
    return {"model": {"file": model_file, "bytes": model_bytes}, **_identity_of_host(engine, cpu)}


def _identity_of_host(engine: str, cpu: Mapping[str, Any]) -> dict[str, Any]:
    return {"engine": engine, "cpu": {**{name: cpu[name] for name in CPU_FACTS}, "numa_nodes": cpu["numa"]["count"]}}


def _engine(engine_dir: str) -> str:
    return hashlib.sha256(Path(engine_dir, "manifest.json").read_bytes()).hexdigest()


def host_identity(engine_dir: str, cpu: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the identity of an engine and a processor. Raises CopilotError when there is no engine."""
    try:
        return _identity_of_host(_engine(engine_dir), cpu)
    except OSError as error:
        raise CopilotError(
            f"{error.filename} cannot be read ({error.strerror}): install the engine first, with site.yml --tags engine."
        ) from error


def present_identity(model: str, engine_dir: str, cpu: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the identity of a model and an engine as they are on this host. Raises CopilotError when one is not there."""
    try:
        size = os.path.getsize(model)
        engine = _engine(engine_dir)
    except OSError as error:
        raise CopilotError(f"{error.filename} cannot be read ({error.strerror}): run site.yml first.") from error
    return identity(os.path.basename(model), size, engine, cpu)


def entry(result: Result, work: WorkResult, measured: Mapping[str, Any], length: Length, seconds: float) -> dict[str, Any]:
    """Returns a result as plain data to store."""
    chosen = {} if work.speculation is None else {"speculation": work.speculation}
    return {
        "identity": dict(measured),
        "settings": {**asdict(result.settings), **chosen},
        "figures": [
            {
                "stage": one.stage,
                "settings": asdict(one.settings),
                "prompt_tokens_per_second": round(one.speed.prompt, 2),
                "generated_tokens_per_second": round(one.speed.generated, 2),
                "turn_seconds": round(one.speed.turn_seconds, 2),
                "chosen": one.settings == result.settings,
            }
            for one in result.figures
        ],
        "work": [
            {
                "settings": asdict(one.settings),
                "speculation": one.speculation,
                "seconds": {name: round(value, 3) for name, value in one.seconds.items()},
                "chosen": one is work.chosen,
            }
            for one in work.timed
        ],
        "gains": {name: round(value, 2) for name, value in work.gains().items()},
        "length": asdict(length),
        "skipped": [*result.skipped, *work.skipped],
        "failed": [*result.failed, *work.failed],
        "seconds": round(seconds, 1),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def read_file(text: str) -> dict[str, dict[str, Any]]:
    """Returns the entries of a file of results, by model; none when nobody wrote it, or when somebody else did."""
    try:
        content = json.loads(text)
        models = content["models"] if content["version"] == VERSION else {}
        return {str(name): dict(one) for name, one in models.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def read_entries(path: str) -> dict[str, dict[str, Any]]:
    """Returns the entries of the file of results on this host."""
    try:
        return read_file(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError):
        return {}


def write_file(entries: Mapping[str, Any]) -> str:
    return json.dumps({"version": VERSION, "models": dict(sorted(entries.items()))}, indent=2, sort_keys=True) + "\n"


def holding(entries: Mapping[str, Any], name: str, present: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Returns the valid settings for a model, and why there are none (empty if there are)."""
    there = entries.get(name)
    if there is None:
        return {}, f"{name} was not tuned on this host"
    measured = there.get("identity", {})
    changed = [part for part in ("model", "engine", "cpu") if measured.get(part) != present[part]]
    if changed:
        return {}, f"the figures of {name} are of another {' and another '.join(changed)}: run the playbook tune again"
    settings = there.get("settings")
    if not isinstance(settings, dict) or set(settings) - {"speculation"} != set(Settings.__dataclass_fields__):
        return {}, f"the entry of {name} is not one of this version's: run the playbook tune again"
    return settings, ""
