# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times the work of a coding agent on a real llama-server: which method of speculation suits a model, and what tuning gains.

Every server gets the same requests. No text occurs twice in them, since repeated text is easy to draft.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import MARGIN, OutOfTime, Settings

OFF = "off"
DRAFT_MODEL = "draft-simple"  # the method of speculation that needs one

KINDS = ("cold prompt", "warm turn", "file edit", "tool call")  # and the edits in all slots at once
# A way to guess that makes any work slower than this share of the speed without is not chosen.
HARMLESS = 0.97
WARM_TOKENS, CALL_TOKENS = 16, 48  # that are generated in a warm turn and in a tool call
FEWEST_TOKENS = 4  # of an answer that tells a speed
REPETITIONS = 2  # of short work; the fastest counts, since other programs only ever slow it down
TOOL = {
    "type": "function",
    "function": {
        "name": "write_file",
        "description": "Writes a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "lines": {"type": "integer"}, "summary": {"type": "string"}},
            "required": ["path", "lines", "summary"],
        },
    },
}

VERBS = ("find", "list", "read", "load", "check", "count", "select", "update")
NOUNS = (
    *("user", "order", "price", "name", "size", "date", "file", "path", "page", "color"),
    *("image", "status", "value", "address", "letter", "message", "product", "table", "number", "word"),
)

# Sends a chat request and returns llama-server's ``timings``. Raises CopilotError and OutOfTime.
Ask = Callable[[Mapping[str, Any]], Mapping[str, float]]
# Starts llama-server with these arguments, and yields what asks it. Raises the same.
Serve = Callable[[list[str]], AbstractContextManager[Ask]]
Work = Callable[[Ask, int], float]


@dataclass(frozen=True)
class Timed:
    """How long each kind of work takes with a server, in seconds; without the kinds that failed."""

    settings: Settings
    speculation: str
    seconds: dict[str, float]


@dataclass
class WorkResult:
    """The chosen way to guess, or None if there was no time to choose; and what each server took.

    :ivar before: the server without tuning and without guesses, if there was time for it.
    :ivar chosen: the server with the chosen settings.
    """

    speculation: str | None = None
    before: Timed | None = None
    chosen: Timed | None = None
    timed: list[Timed] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def gains(self) -> dict[str, float]:
        """Returns how many times faster each kind of work is with the chosen settings than before, if both were timed."""
        if self.before is None or self.chosen is None or self.before is self.chosen:
            return {}
        return faster(self.before.seconds, self.chosen.seconds)


def in_order(names: Iterable[str]) -> list[str]:
    """Returns kinds of work without duplicates, in the order in which they are measured."""
    found = set(names)
    return [*(name for name in KINDS if name in found), *sorted(found.difference(KINDS))]


def faster(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Returns the ratio of seconds by kind of work, for the kinds that both have."""
    return {name: before[name] / after[name] for name in before if name in after}


def choose(plain: Timed, guessing: Iterable[Timed]) -> str:
    """Returns the way to guess that is fastest over all kinds of work and slows none down; ``off`` if none is worth it."""
    best, most = OFF, 1 + MARGIN
    for one in guessing:
        ratios = list(faster(plain.seconds, one.seconds).values())
        if ratios and min(ratios) >= HARMLESS and sum(ratios) / len(ratios) > most:
            best, most = one.speculation, sum(ratios) / len(ratios)
    return best


def server_arguments(own: Iterable[Sequence[str]], settings: Settings, speculation: str, draft_model: str) -> list[str]:
    """Returns the host's own arguments of llama-server, with measured settings in place of its own.

    :param own: arguments with their values, without the model's file.
    :param draft_model: its file, for methods of speculation that need it.
    """
    measured = {
        "--threads": settings.threads,
        "--threads-batch": settings.threads_batch,
        "--ubatch-size": settings.ubatch_size,
        "--flash-attn": settings.flash_attention,
        "--cache-type-k": settings.cache_type_k,
        "--cache-type-v": settings.cache_type_v,
        "--load-mode": settings.load_mode,
    }
    replaced = {*measured, "--model", "--numa", "--spec-type", "--model-draft"}
    if settings.numa != OFF:
        measured["--numa"] = settings.numa
    if speculation != OFF:
        measured["--spec-type"] = speculation
    if DRAFT_MODEL in speculation.split(","):
        measured["--model-draft"] = draft_model
    kept = [str(word) for argument in own if argument[0] not in replaced for word in argument]
    return [*kept, *(str(word) for pair in measured.items() for word in pair)]


def slots_of(own: Iterable[Sequence[str]]) -> int:
    """Returns the number of slots that arguments of llama-server ask for."""
    return next((int(argument[1]) for argument in own if argument[0] == "--parallel"), 1)


def words(number: int, count: int) -> str:
    """Returns so many made-up words, others for each number."""
    dice = random.Random(number)
    return " ".join(f"{dice.choice('bdfgklmnprst')}{dice.choice('aeiou')}{dice.randrange(10, 99)}" for _word in range(count))


def source(number: int, lines: int) -> str:
    """Returns a file of Python with about so many lines, another one for each number."""
    dice = random.Random(number)
    text: list[str] = []
    while len(text) < lines:
        thing, other, value = dice.sample(NOUNS, 3)
        text += [
            f"def {dice.choice(VERBS)}_{thing}(self, {other}, limit={dice.randrange(2, 900)}):",
            f'    """Returns the {value} of each {thing} whose {other} is below the limit."""',
            f"    if {other} is None:",
            f"        {other} = self.{dice.choice(NOUNS)}",
            f"    return [{thing}.{value} for {thing} in self.{thing}s if {thing}.{other} < limit]",
            "",
        ]
    return "\n".join(text[:lines])


class Agent:
    """The kinds of work, with texts of a length that suits the model's speed.

    :param prompt: tokens of a cold prompt, about.
    :param edit: tokens of a file that is written again, at most.
    """

    def __init__(self, prompt: int, edit: int, slots: int) -> None:
        self._prompt, self._edit, self._slots = prompt, edit, slots

    def works(self) -> dict[str, tuple[Work, int]]:
        """Returns each kind of work, and how often it is measured."""
        one = (self._cold, REPETITIONS), (self._warm, REPETITIONS), (self._file, 1), (self._call, REPETITIONS)
        works: dict[str, tuple[Work, int]] = dict(zip(KINDS, one))
        if self._slots > 1:
            works[f"{self._slots} file edits at once"] = (self._files, 1)
        return works

    def _cold(self, ask: Ask, number: int) -> float:
        times = ask(_chat([_says(words(number, self._prompt // 4))], 1))
        return _per_token(times, "prompt") * self._prompt

    def _warm(self, ask: Ask, number: int) -> float:
        before = _says(words(number, self._prompt // 4))
        ask(_chat([before], 1))
        history = [before, {"role": "assistant", "content": "I have read it."}, _says(f"Repeat it: {words(number + 1, 8)}")]
        times = ask(_chat(history, WARM_TOKENS))
        return times["prompt_ms"] / 1000 + _per_token(times, "predicted") * WARM_TOKENS

    def _file(self, ask: Ask, number: int) -> float:
        return _per_token(ask(self._edited(number)), "predicted") * self._edit

    def _files(self, ask: Ask, number: int) -> float:
        """All slots generate at once; each answer's own time counts, since they may differ in length."""
        with ThreadPoolExecutor(self._slots) as pool:
            times = list(pool.map(ask, [self._edited(number + slot) for slot in range(self._slots)]))
        return sum(_per_token(one, "predicted") for one in times) / len(times) * self._edit

    def _edited(self, number: int) -> dict[str, Any]:
        text = source(number, max(2, self._edit // 12))
        return _chat([_says(f"Write this file again and change nothing:\n\n```python\n{text}\n```")], self._edit)

    def _call(self, ask: Ask, number: int) -> float:
        body = _chat([_says(f"Write the file {words(number, 1)}.txt with {number} lines.")], CALL_TOKENS)
        return _per_token(ask({**body, "tools": [TOOL], "tool_choice": "required"}), "predicted") * CALL_TOKENS


def _says(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _chat(messages: list[dict[str, str]], tokens: int) -> dict[str, Any]:
    return {"messages": messages, "max_tokens": tokens, "temperature": 0}


def _per_token(times: Mapping[str, float], kind: str) -> float:
    """Returns seconds for each token. Raises CopilotError where an answer is too short to tell."""
    tokens, milliseconds = times.get(f"{kind}_n", 0), times.get(f"{kind}_ms", 0)
    if tokens < FEWEST_TOKENS or milliseconds <= 0:
        raise CopilotError(f"it gave {tokens:.0f} tokens, which are too few to measure")
    return milliseconds / 1000 / tokens


def measure(
    serve: Serve,
    agent: Agent,
    own: Sequence[Sequence[str]],
    usual: Settings,
    best: Settings,
    speculations: Sequence[str],
    draft_model: str,
    progress: Callable[[str], None],
) -> WorkResult:
    """Times an agent's work with each server, and chooses a way to guess.

    :param usual: the settings without tuning.
    :param best: the fastest that were found.
    :param speculations: ways to guess, to compare with none.
    :param draft_model: the file of the draft model, if there is one.
    """
    result = WorkResult()
    # The choice comes first, in case the time ends: settings before tuning may be slow, and only tell the gain.
    servers = list(dict.fromkeys([(best, OFF), *((best, name) for name in speculations if name != OFF), (usual, OFF)]))
    for number, (settings, speculation) in enumerate(servers):
        try:
            with serve(server_arguments(own, settings, speculation, draft_model)) as ask:
                ask(_chat([_says(words(0, 8))], FEWEST_TOKENS))  # the first use reads weights from the disk
                seconds = dict(_timed(ask, agent, _name(settings, speculation, best), result, progress))
        except OutOfTime:
            result.skipped = [f"agent's work, {_name(*one, best)}" for one in servers[number:]]
            break
        except CopilotError as error:
            result.failed.append(f"agent's work, {_name(settings, speculation, best)}: {error}")
            continue
        result.timed.append(Timed(settings, speculation, seconds))
    by_server = {(one.settings, one.speculation): one for one in result.timed}
    plain, guessing = by_server.get((best, OFF)), [one for one in result.timed if one.speculation != OFF]
    if plain is not None and (guessing or not speculations):
        result.speculation = choose(plain, guessing)
        result.chosen = by_server[best, result.speculation]
    result.before = by_server.get((usual, OFF))
    return result


def _name(settings: Settings, speculation: str, best: Settings) -> str:
    return "settings before tuning" if settings != best else f"speculation {speculation}"


def _timed(
    ask: Ask, agent: Agent, server: str, result: WorkResult, progress: Callable[[str], None]
) -> Iterator[tuple[str, float]]:
    number = 1
    for name, (work, repetitions) in agent.works().items():
        progress(f"agent's work, {server}: {name}")
        seconds = []
        for _repetition in range(repetitions):
            number += 100
            try:
                seconds.append(work(ask, number))
            except CopilotError as error:
                result.failed.append(f"agent's work, {server}, {name}: {error}")
                break
        else:
            yield name, min(seconds)
