# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the settings that make a model fastest on a host: what to measure with llama-bench, how to read it, what to choose.

It varies one setting at a time and keeps the best values so far for the others (coordinate descent), which takes about a dozen
measurements instead of hundreds. Combinations are ranked by a single number, the duration of an agent's turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

# What an agent's turn is taken to be: so many prompt tokens that no cache has, and so many that are generated.
TURN_PROMPT, TURN_GENERATED = 1024, 256

# A change counts when it makes a turn shorter by this share; less is noise.
MARGIN = 0.02
REPETITIONS = 2
DEFAULT_UBATCH = 512
TRIED_CACHE_TYPES = ("f16", "q8_0")
NUMA_MODES = ("off", "distribute", "isolate")
LOAD_MODES = ("mmap", "none")  # mapped from the file, or copied into memory, which may get huge pages


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
    load_mode: str = LOAD_MODES[0]


@dataclass(frozen=True)
class Speed:
    """Speeds in tokens per second."""

    prompt: float
    generated: float

    @property
    def turn_seconds(self) -> float:
        return TURN_PROMPT / self.prompt + TURN_GENERATED / self.generated


@dataclass(frozen=True)
class Length:
    """The lengths of a measurement, in tokens: of the prompt, of the answer, and of the KV cache before."""

    prompt: int = 512
    generated: int = 32
    depth: int = 512


@dataclass(frozen=True)
class Stage:
    """One setting, and the values to try besides the current one."""

    name: str
    values: tuple[dict[str, Any], ...]
    generates: bool = True  # whether the setting matters to the generation


@dataclass(frozen=True)
class Figure:
    """The measurement of one combination of settings."""

    stage: str
    settings: Settings
    speed: Speed


@dataclass
class Result:
    """The fastest settings, and all measurements."""

    settings: Settings
    figures: list[Figure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # for want of time
    failed: list[str] = field(default_factory=list)


class OutOfTime(Exception):
    """A measurement was stopped because the time ran out."""


def thread_counts(cpu: Mapping[str, Any]) -> list[int]:
    """Returns the numbers of threads to try, starting with the default.

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
        Stage("load mode", tuple({"load_mode": mode} for mode in LOAD_MODES[1:])),
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
        *("--repetitions", str(REPETITIONS), "--no-warmup", "--load-mode", settings.load_mode, "--output", "jsonl"),
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
    :param progress: called with the current measurement, the number of completed ones, and the maximum number.
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
                "The time ran out before the first measurement was complete: raise tune_seconds, or lower tune_prompt_tokens and "
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
            raise CopilotError(f"llama-bench returned no results for {brief(settings)}; run it by hand to see why.")
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
    words += [f"NUMA {settings.numa}"] if settings.numa != "off" else []
    return ", ".join(words + ([f"load mode {settings.load_mode}"] if settings.load_mode != LOAD_MODES[0] else []))
