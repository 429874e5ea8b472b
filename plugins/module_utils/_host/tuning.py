# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which settings make a model fastest on a host: what to measure with llama-bench, how to read it, and what to choose.

One setting after the other is varied while the others stay at the best that was found (coordinate descent): about a dozen
measurements in the place of hundreds. What matters is how long a turn of an agent takes, so that one number ranks them all.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

# What model_tune and model_tune_info both take; the documentation fragment "tuning" describes them.
OPTIONS = {
    "path": {"type": "path", "required": True},
    "engine_dir": {"type": "path", "required": True},
    "cpu": {"type": "dict", "required": True},
}

VERSION = 1  # of the file that keeps the results
# What an agent's turn is taken to be: so many prompt tokens that no cache has, and so many that are generated.
TURN_PROMPT, TURN_GENERATED = 1024, 256
# A change counts when it makes a turn shorter by this share; less is noise.
MARGIN = 0.02
REPETITIONS = 2

DEFAULT_UBATCH = 512
CACHE_TYPES = ("f16", "q8_0")
NUMA_MODES = ("off", "distribute", "isolate")
# What of the processor decides whether earlier figures still hold.
CPU_FACTS = ("model_name", "llama_cpp_variant", "usable_cpus", "usable_cores")


@dataclass(frozen=True)
class Settings:
    """Settings of llama-server, by the names of its role's variables."""

    threads: int
    threads_batch: int
    ubatch_size: int = DEFAULT_UBATCH
    flash_attention: str = "on"
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    numa: str = "off"


@dataclass(frozen=True)
class Speed:
    """Tokens for each second."""

    prompt: float
    generated: float

    @property
    def turn_seconds(self) -> float:
        return TURN_PROMPT / self.prompt + TURN_GENERATED / self.generated


@dataclass(frozen=True)
class Length:
    """How much is measured: tokens of a prompt, generated tokens, and tokens that are in the cache before."""

    prompt: int = 512
    generated: int = 32
    depth: int = 512


@dataclass(frozen=True)
class Stage:
    """One setting, and the values to try beside the one that holds."""

    name: str
    values: tuple[dict[str, Any], ...]
    generates: bool = True  # whether the setting matters to the generation


@dataclass(frozen=True)
class Figure:
    """What was measured of one combination."""

    stage: str
    settings: Settings
    speed: Speed


@dataclass
class Result:
    """The winner, and how it came to be."""

    settings: Settings
    figures: list[Figure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # for want of time
    failed: list[str] = field(default_factory=list)


class OutOfTime(Exception):
    """The measurement was ended since the time is over."""


def thread_counts(cpu: Mapping[str, Any]) -> list[int]:
    """Returns the numbers of threads to try, the one that holds without tuning first.

    All physical cores; all logical ones; all physical ones but one, which is left to the system; half of them, where memory
    is the limit; and the cores of one NUMA node.
    """
    cores, logical = int(cpu["usable_cores"]), int(cpu["usable_cpus"])
    nodes = int(cpu["numa"]["count"])
    wanted = [cores, logical, cores - 1 if cores > 4 else cores, cores // 2, cores // nodes]
    return list(dict.fromkeys(count for count in wanted if 1 <= count <= logical))


def stages(cpu: Mapping[str, Any], length: Length, ubatch_sizes: Iterable[int], cache_types: Iterable[str]) -> list[Stage]:
    """Returns what is varied, in order: what matters most comes first, in case the time ends."""
    return [
        Stage("threads", tuple({"threads": count, "threads_batch": count} for count in thread_counts(cpu))),
        Stage("NUMA", tuple({"numa": mode} for mode in NUMA_MODES[1:]) if int(cpu["numa"]["count"]) > 1 else ()),
        # A batch that is larger than the prompt is no different from one of the prompt's size.
        Stage("micro-batch", tuple({"ubatch_size": size} for size in ubatch_sizes if size <= length.prompt), generates=False),
        Stage("flash attention", ({"flash_attention": "off"},)),
        Stage("cache types", tuple({"cache_type_k": name, "cache_type_v": name} for name in cache_types)),
    ]


def allowed(settings: Settings) -> bool:
    """llama.cpp quantises the cache of values with flash attention only."""
    return settings.flash_attention == "on" or settings.cache_type_v in ("f32", "f16", "bf16")


def bench_arguments(settings: Settings, threads: int, prompt: int, generated: int, depth: int) -> list[str]:
    """Returns llama-bench's arguments, without the model."""
    return [
        *("--threads", str(threads), "--n-prompt", str(prompt), "--n-gen", str(generated), "--n-depth", str(depth)),
        *("--ubatch-size", str(settings.ubatch_size), "--flash-attn", settings.flash_attention),
        *("--cache-type-k", settings.cache_type_k, "--cache-type-v", settings.cache_type_v),
        *(("--numa", settings.numa) if settings.numa != "off" else ()),
        *("--repetitions", str(REPETITIONS), "--no-warmup", "--load-mode", "mmap", "--output", "jsonl"),
    ]


def parse_bench(text: str) -> dict[str, float]:
    """Returns ``prompt`` and ``generated``, tokens for each second, as far as llama-bench's JSON lines have them.

    The best repetition counts: whatever else runs on the host makes one slower, and nothing makes it faster.
    """
    speeds = {}
    for line in filter(str.strip, text.splitlines()):
        try:
            row = json.loads(line)
            speeds["generated" if row["n_gen"] else "prompt"] = float(max(row["samples_ts"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CopilotError(
                f"llama-bench printed what is not one of its JSON lines ({line[:80]!r}), so the engine is another one than this "
                "collection knows: install its own with site.yml --tags engine."
            ) from error
    return speeds


Bench = Callable[[list[str]], str]
Progress = Callable[[str, int, int], None]


class Tuner:
    """Finds the best settings within a time.

    :param bench: runs llama-bench with arguments and returns what it printed; raises OutOfTime.
    :param progress: is told what is measured, how many measurements are done, and how many there may be.
    """

    def __init__(self, bench: Bench, length: Length, progress: Progress) -> None:
        self._bench, self._length, self._progress = bench, length, progress
        self._known: dict[Settings, Speed] = {}
        self._done = self._total = 0

    def run(self, cpu: Mapping[str, Any], plan: list[Stage]) -> Result:
        """Returns the best of what was measured. Raises CopilotError when there was no time for a single measurement."""
        cores = int(cpu["usable_cores"])
        result = Result(Settings(threads=cores, threads_batch=cores))
        self._total = 1 + sum(replace(result.settings, **change) != result.settings for stage in plan for change in stage.values)
        try:
            self._measure("as it is", result.settings, result)
        except OutOfTime:
            raise CopilotError(
                "The time was over before one measurement was done: raise tune_seconds, or lower tune_prompt_tokens and "
                "tune_depth."
            ) from None
        for number, stage in enumerate(plan):
            try:
                self._vary(stage, result)
            except OutOfTime:
                result.skipped = [one.name for one in plan[number:] if one.values]
                break
        return result

    def _vary(self, stage: Stage, result: Result) -> None:
        for change in stage.values:
            candidate, best = replace(result.settings, **change), self._known[result.settings]
            if candidate == result.settings or not allowed(candidate):
                continue
            try:
                speed = self._measure(stage.name, candidate, result, None if stage.generates else best)
            except CopilotError as error:  # what does not work is not the best, and no reason to lose the rest
                result.failed.append(f"{brief(candidate)}: {error}")
                continue
            if stage.name == "threads":
                self._choose_threads(result)
            elif speed.turn_seconds < best.turn_seconds * (1 - MARGIN):
                result.settings = candidate

    def _choose_threads(self, result: Result) -> None:
        """Chooses the counts that are best for prompts and for generation, the first ones unless others are clearly better.

        Neither speed depends on the other count, so that a pair of two measured counts needs no measurement of its own.
        """
        tried = [one for one in result.figures if one.settings.threads == one.settings.threads_batch]
        best = {}
        for kind in ("prompt", "generated"):
            winner = tried[0]
            for one in tried[1:]:
                if getattr(one.speed, kind) > getattr(winner.speed, kind) * (1 + MARGIN):
                    winner = one
            best[kind] = winner
        result.settings = replace(
            result.settings, threads=best["generated"].settings.threads, threads_batch=best["prompt"].settings.threads
        )
        if result.settings not in self._known:
            speed = self._known[result.settings] = Speed(best["prompt"].speed.prompt, best["generated"].speed.generated)
            result.figures.append(Figure("threads", result.settings, speed))

    def _measure(self, stage: str, settings: Settings, result: Result, generated_as: Speed | None = None) -> Speed:
        """Returns the speed of a combination; that of one that was measured before is known.

        :param generated_as: whose generation is as fast, so that only the prompt is measured.
        """
        if settings in self._known:
            return self._known[settings]
        self._progress(f"{stage}: {brief(settings)}", self._done, self._total)
        self._done += 1
        length = self._length
        if generated_as:
            speeds = self._run(settings, settings.threads_batch, length.prompt, 0)
            speeds["generated"] = generated_as.generated
        elif settings.threads == settings.threads_batch:
            speeds = self._run(settings, settings.threads, length.prompt, length.generated)
        else:
            speeds = self._run(settings, settings.threads_batch, length.prompt, 0)
            speeds.update(self._run(settings, settings.threads, 0, length.generated))
        if not all(speeds.get(kind, 0) > 0 for kind in ("prompt", "generated")):
            raise CopilotError(f"llama-bench gave no figures for {brief(settings)}; run it by hand to see why.")
        speed = self._known[settings] = Speed(speeds["prompt"], speeds["generated"])
        result.figures.append(Figure(stage, settings, speed))
        return speed

    def _run(self, settings: Settings, threads: int, prompt: int, generated: int) -> dict[str, float]:
        return parse_bench(self._bench(bench_arguments(settings, threads, prompt, generated, self._length.depth)))


def brief(settings: Settings) -> str:
    """Returns a combination in a few words, for people."""
    words = [
        f"{settings.threads} threads"
        + (f" ({settings.threads_batch} for prompts)" if settings.threads_batch != settings.threads else ""),
        f"micro-batch {settings.ubatch_size}",
        f"flash attention {settings.flash_attention}",
        f"cache {settings.cache_type_k}"
        + (f"/{settings.cache_type_v}" if settings.cache_type_v != settings.cache_type_k else ""),
    ]
    return ", ".join(words + ([f"NUMA {settings.numa}"] if settings.numa != "off" else []))


def identity(model_file: str, model_bytes: int, engine: str, cpu: Mapping[str, Any]) -> dict[str, Any]:
    """What the figures are figures of. They hold as long as all of it is the same.

    :param engine: the checksum of the engine's manifest.
    """
    return {
        "model": {"file": model_file, "bytes": model_bytes},
        "engine": engine,
        "cpu": {**{name: cpu[name] for name in CPU_FACTS}, "numa_nodes": cpu["numa"]["count"]},
    }


def present_identity(model: str, engine_dir: str, cpu: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the identity of a model and an engine as they are on this host. Raises CopilotError when one is not there."""
    try:
        size = os.path.getsize(model)
        engine = hashlib.sha256(Path(engine_dir, "manifest.json").read_bytes()).hexdigest()
    except OSError as error:
        raise CopilotError(f"{error.filename} cannot be read ({error.strerror}): run site.yml first.") from error
    return identity(os.path.basename(model), size, engine, cpu)


def entry(result: Result, measured: Mapping[str, Any], length: Length, seconds: float) -> dict[str, Any]:
    """Returns what is kept of a result, as plain data."""
    return {
        "identity": dict(measured),
        "settings": asdict(result.settings),
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
        "length": asdict(length),
        "skipped": list(result.skipped),
        "failed": list(result.failed),
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
    """Returns the settings that were found for a model as it is now, and why there are none, or an empty string."""
    there = entries.get(name)
    if there is None:
        return {}, f"{name} was not tuned on this host"
    measured = there.get("identity", {})
    changed = [part for part in ("model", "engine", "cpu") if measured.get(part) != present[part]]
    if changed:
        return {}, f"the figures of {name} are of another {' and another '.join(changed)}: run the playbook tune again"
    settings = there.get("settings")
    if not isinstance(settings, dict) or set(settings) != set(Settings.__dataclass_fields__):
        return {}, f"the entry of {name} is not one of this version's: run the playbook tune again"
    return settings, ""


def _all_figures(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(host, figure) for host, one in results.items() for figure in one["figures"]]


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table for people.

    :param results: entries, by host.
    """
    rows = [("host", "varied", "settings", "prompt t/s", "gen. t/s", "turn s", "")]
    for host, figure in _all_figures(results):
        rows.append(
            (
                host,
                figure["stage"],
                brief(Settings(**figure["settings"])),
                f"{figure['prompt_tokens_per_second']:.1f}",
                f"{figure['generated_tokens_per_second']:.1f}",
                f"{figure['turn_seconds']:.1f}",
                "<- chosen" if figure["chosen"] else "",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in (3, 4, 5) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        lines.append("  ".join(cells).rstrip())
    for host, one in results.items():
        first = one["figures"][0]["turn_seconds"]
        best = next(figure["turn_seconds"] for figure in one["figures"] if figure["chosen"])
        lines.append(
            f"{host}: a turn ({TURN_PROMPT} new and {TURN_GENERATED} generated tokens) takes {best:.1f} s instead of "
            f"{first:.1f} s."
        )
        if one["skipped"]:
            lines.append(f"{host}: no time was left for {', '.join(one['skipped'])}; give it more with tune_seconds.")
        lines.extend(f"{host}: not measured: {what}" for what in one["failed"])
    return "\n".join(lines)


BAR_HEIGHT, ROW_HEIGHT, LABEL_WIDTH, BAR_WIDTH, MARGIN_PIXELS = 9, 28, 520, 420, 16
COLOURS = {"prompt": "#3465a4", "generated": "#e08214"}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def chart(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the figures as an SVG picture: two bars for each combination, each kind with a scale of its own."""
    figures = _all_figures(results)
    width = LABEL_WIDTH + BAR_WIDTH + 100 + 2 * MARGIN_PIXELS
    height = 2 * MARGIN_PIXELS + ROW_HEIGHT * (len(figures) + 1)
    largest = {kind: max((figure[f"{kind}_tokens_per_second"] for _host, figure in figures), default=1) or 1 for kind in COLOURS}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    left = LABEL_WIDTH + MARGIN_PIXELS
    for index, kind in enumerate(COLOURS):
        parts.append(f'<rect x="{left + index * 220}" y="{MARGIN_PIXELS}" width="12" height="12" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{left + index * 220 + 18}" y="{MARGIN_PIXELS + 11}">{kind} tokens per second</text>')
    for row, (host, figure) in enumerate(figures, 1):
        top = MARGIN_PIXELS + row * ROW_HEIGHT
        weight = ' font-weight="bold"' if figure["chosen"] else ""
        label = _escape(f"{host}: {brief(Settings(**figure['settings']))}")
        parts.append(f'<text x="{MARGIN_PIXELS}" y="{top + 14}"{weight}>{label}</text>')
        for index, kind in enumerate(COLOURS):
            value = figure[f"{kind}_tokens_per_second"]
            length = round(BAR_WIDTH * value / largest[kind], 1)
            y = top + index * (BAR_HEIGHT + 1)
            parts.append(f'<rect x="{left}" y="{y}" width="{length}" height="{BAR_HEIGHT}" fill="{COLOURS[kind]}"/>')
            parts.append(f'<text x="{left + length + 4}" y="{y + BAR_HEIGHT}" font-size="10">{value:.1f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
