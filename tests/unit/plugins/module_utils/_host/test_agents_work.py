# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an agent's work is timed and a way to guess is chosen, with servers whose speeds are known."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning import work
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import OutOfTime, Settings
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import Agent, Ask, Timed, WorkResult

USUAL, BEST = Settings(8, 8), Settings(8, 16, ubatch_size=256)
OWN = [
    ["--model", "/m.gguf"],
    ["--ctx-size", "8192"],
    ["--parallel", "2"],
    ["--threads", "3"],
    ["--spec-type", "ngram-cache"],
    ["--model-draft", "/d.gguf"],
]
ALL = ["cold prompt", "warm turn", "file edit", "tool call", "2 file edits at once"]


@dataclass
class Host:
    """Servers that take 10 ms for a token of a prompt, and 100 for one of an answer, divided by what guessing gains.

    :param gains: way to guess -> how many times faster edits and other answers are.
    :param starts: how many servers there is time for.
    :param short: the number of tokens that each answer has.
    """

    gains: dict[str, tuple[float, float]]
    starts: int = 99
    broken: str = ""
    no_tools: bool = False
    short: int = 32
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    arguments: list[list[str]] = field(default_factory=list)

    @contextmanager
    def serve(self, arguments: list[str]) -> Iterator[Ask]:
        self.arguments.append(arguments)
        options = dict(itertools.pairwise(arguments))
        guess = options.get("--spec-type", "off")
        if len(self.arguments) > self.starts:
            raise OutOfTime
        if guess == self.broken:
            raise CopilotError("it ended")
        edits, others = self.gains.get(guess, (1, 1))
        batch = 2 if options["--ubatch-size"] == "256" else 1

        def ask(body: Mapping[str, Any]) -> Mapping[str, float]:
            self.asked.append(body)
            if "tools" in body and self.no_tools:
                raise CopilotError("its template has no tools")
            gain = edits if "Write this file again" in body["messages"][-1]["content"] else others
            tokens = min(body["max_tokens"], self.short)
            return {"prompt_n": 20, "prompt_ms": 200 / batch, "predicted_n": tokens, "predicted_ms": 100 * tokens / gain}

        yield ask

    def measure(self, best: Settings = BEST, speculations: tuple[str, ...] = ("ngram-mod", "ngram-simple")) -> WorkResult:
        self.progress: list[str] = []
        agent = Agent(100, 32, work.slots_of(OWN))
        return work.measure(self.serve, agent, OWN, USUAL, best, speculations, "/small.gguf", self.progress.append)


def test_the_fastest_is_chosen_and_the_gain_told() -> None:
    host = Host({"ngram-mod": (2, 1.25), "ngram-simple": (2, 1)})
    found = host.measure()
    assert (found.speculation, found.failed, found.skipped) == ("ngram-mod", [], [])
    assert [(one.settings, one.speculation, list(one.seconds)) for one in found.timed] == [
        (BEST, "off", ALL),
        (BEST, "ngram-mod", ALL),
        (BEST, "ngram-simple", ALL),
        (USUAL, "off", ALL),
    ]
    assert found.before is found.timed[-1]
    assert found.before.seconds["cold prompt"] == pytest.approx(1)  # 100 tokens of 10 ms
    assert found.before.seconds["file edit"] == pytest.approx(3.2)
    assert found.gains() == pytest.approx(
        {"cold prompt": 2, "warm turn": 1.8 / (0.1 + 1.28), "file edit": 2, "tool call": 1.25, "2 file edits at once": 2}
    )
    assert "agent's work, speculation ngram-mod: file edit" in host.progress


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        pytest.param({"ngram-mod": (2, 0.9)}, "off", id="it makes other work slower"),
        pytest.param({"ngram-mod": (2, 0.98), "ngram-simple": (1.5, 1)}, "ngram-mod", id="by less than can be measured"),
        pytest.param({"ngram-mod": (1.02, 1)}, "off", id="it is not worth it"),
        pytest.param({"ngram-mod": (1.5, 1), "ngram-simple": (1.6, 1)}, "ngram-simple", id="another is faster"),
    ],
)
def test_what_is_chosen(gains: dict[str, tuple[float, float]], chosen: str) -> None:
    assert Host(gains).measure().speculation == chosen


def test_a_draft_model_is_loaded_where_it_guesses() -> None:
    host = Host({"ngram-mod,draft-simple": (3, 2)})
    assert host.measure(speculations=("ngram-mod", "ngram-mod,draft-simple")).speculation == "ngram-mod,draft-simple"
    options = [dict(itertools.pairwise(one)) for one in host.arguments]
    assert [one.get("--model-draft") for one in options] == [None, None, "/small.gguf", None]


def test_servers_differ_in_what_is_measured_alone() -> None:
    host = Host({})
    host.measure()
    kept = ["--ctx-size", "8192", "--parallel", "2"]
    assert [one[:4] for one in host.arguments] == [kept] * 4
    options = [dict(itertools.pairwise(one)) for one in host.arguments]
    assert [one["--threads-batch"] for one in options] == ["16", "16", "16", "8"]
    assert [one.get("--spec-type") for one in options] == [None, "ngram-mod", "ngram-simple", None]
    assert {one["--threads"] for one in options} == {"8"}
    assert "--model" not in options[0]
    assert work.server_arguments(OWN, Settings(8, 8, numa="isolate"), "off", "")[-2:] == ["--numa", "isolate"]


def test_no_answer_is_asked_for_twice() -> None:
    host = Host({})
    host.measure(best=USUAL, speculations=())
    asked = [str(body["messages"]) for body in host.asked]
    assert len(set(asked)) == len(asked)
    assert sum("Write this file again" in one for one in asked) == 3


def test_settings_that_tuning_left_alone_are_timed_once() -> None:
    found = Host({"ngram-mod": (2, 1)}).measure(best=USUAL)
    assert [one.speculation for one in found.timed] == ["off", "ngram-mod", "ngram-simple"]
    assert found.gains()["file edit"] == pytest.approx(2)


def test_what_there_was_no_time_for() -> None:
    found = Host({"ngram-mod": (2, 1)}, starts=2).measure()
    assert (found.speculation, found.gains()) == ("ngram-mod", {}), "the choice comes before the gain"
    assert found.skipped == ["agent's work, speculation ngram-simple", "agent's work, settings before tuning"]
    found = Host({}, starts=1).measure()
    assert (found.speculation, found.gains()) == (None, {}), "nothing was compared, so that nothing is chosen"
    assert found.skipped[0] == "agent's work, speculation ngram-mod"


def test_what_fails_is_told_and_not_chosen() -> None:
    found = Host({"ngram-mod": (3, 1), "ngram-simple": (2, 1)}, broken="ngram-mod", no_tools=True).measure()
    assert found.speculation == "ngram-simple"
    assert "agent's work, speculation ngram-mod: it ended" in found.failed
    assert "agent's work, speculation off, tool call: its template has no tools" in found.failed
    assert "tool call" not in found.gains()


def test_short_answers_tell_no_speed() -> None:
    found = Host({"ngram-mod": (2, 2)}, short=3).measure()
    assert found.speculation == "off"
    assert list(found.timed[0].seconds) == ["cold prompt"]
    assert "agent's work, speculation off, file edit: it gave 3 tokens, which are too few to measure" in found.failed


def test_without_any_way_to_guess_only_the_gain_is_measured() -> None:
    found = Host({}).measure(speculations=())
    assert found.speculation == "off"
    assert found.gains()["cold prompt"] == pytest.approx(2)


def test_texts_differ_and_are_the_same_each_time() -> None:
    assert work.source(1, 40) == work.source(1, 40) != work.source(2, 40)
    assert len(work.source(1, 40).splitlines()) == 40
    compile(work.source(1, 42), "a file", "exec")
    assert work.words(1, 5) == work.words(1, 5) != work.words(2, 5)
    assert work.slots_of([["--threads", "2"]]) == 1


def test_nothing_to_compare() -> None:
    assert work.choose(Timed(BEST, "off", {}), [Timed(BEST, "ngram-mod", {})]) == "off"
    assert WorkResult().gains() == {}
