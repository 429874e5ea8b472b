# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is measured, what is chosen, and what is kept, with formulas in the place of llama-bench."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning import search, store
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import (
    Length,
    OutOfTime,
    Settings,
    Tuner,
    allowed,
    bench_arguments,
    brief,
    parse_bench,
    stages,
    thread_counts,
)
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.store import (
    entry,
    holding,
    identity,
    read_file,
    write_file,
)
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import Timed, WorkResult
from ansible_collections.slm.copilot.plugins.plugin_utils._reports import charts
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.charts import tuning_chart as chart
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.tables import tuning_table as table


def cpu(cores: int = 8, logical: int = 16, nodes: int = 1) -> dict[str, Any]:
    return {
        "model_name": "Zen",
        "llama_cpp_variant": "zen4",
        "usable_cores": cores,
        "usable_cpus": logical,
        "numa": {"count": nodes, "nodes": []},
    }


def row(prompt: int, speed: float) -> str:
    return json.dumps({"n_prompt": prompt, "n_gen": 0 if prompt else 32, "samples_ts": [speed / 2, speed]})


class Machine:
    """A llama-bench whose speeds follow from its arguments."""

    def __init__(self, prompt: Callable[[dict[str, str]], float], generated: Callable[[dict[str, str]], float]) -> None:
        self.prompt, self.generated, self.calls = prompt, generated, 0
        self.last_call = 10**6

    def __call__(self, arguments: list[str]) -> str:
        self.calls += 1
        if self.calls > self.last_call:
            raise OutOfTime
        pairs = zip(arguments, arguments[1:])
        options = {name: value for name, value in pairs if name.startswith("--")}
        lines = []
        if options["--n-prompt"] != "0":
            lines.append(row(int(options["--n-prompt"]), self.prompt(options)))
        if options["--n-gen"] != "0":
            lines.append(row(0, self.generated(options)))
        return "\n".join(lines)


def tune(machine: Machine, of: dict[str, Any] | None = None, progress: list[str] | None = None) -> search.Result:
    of = of or cpu()
    said = progress if progress is not None else []
    tuner = Tuner(machine, Length(), lambda what, done, total: said.append(f"{done}/{total} {what}"))
    return tuner.run(of, stages(of, Length(), [512, 256, 128, 1024], ["f16", "q8_0"]))


@pytest.mark.parametrize(
    ("cores", "logical", "nodes", "expected"),
    [
        pytest.param(16, 32, 1, [16, 32, 15, 8], id="one node with two threads a core"),
        pytest.param(16, 16, 2, [16, 15, 8], id="two nodes"),
        pytest.param(24, 48, 4, [24, 48, 23, 12, 6], id="four nodes"),
        pytest.param(4, 4, 1, [4, 2], id="a small machine spares no core"),
        pytest.param(1, 1, 1, [1], id="one core"),
    ],
)
def test_the_threads_to_try(cores: int, logical: int, nodes: int, expected: list[int]) -> None:
    assert thread_counts(cpu(cores, logical, nodes)) == expected


@pytest.mark.parametrize(
    ("nodes", "prompt", "expected"),
    [
        pytest.param(1, 512, {"NUMA": 0, "micro-batch": 3}, id="one node and short prompts"),
        pytest.param(2, 512, {"NUMA": 2, "micro-batch": 3}, id="two nodes"),
        pytest.param(1, 2048, {"NUMA": 0, "micro-batch": 4}, id="long prompts"),
        pytest.param(1, 64, {"NUMA": 0, "micro-batch": 0}, id="prompts shorter than any batch"),
    ],
)
def test_what_is_varied(nodes: int, prompt: int, expected: dict[str, int]) -> None:
    found = stages(cpu(nodes=nodes), Length(prompt=prompt), [512, 256, 128, 1024], ["f16", "q8_0"])
    assert [stage.name for stage in found] == ["threads", "NUMA", "micro-batch", "flash attention", "cache types", "load mode"]
    assert {stage.name: len(stage.values) for stage in found if stage.name in expected} == expected


def test_counts_of_threads_are_chosen_apart() -> None:
    machine = Machine(lambda o: 10 * int(o["--threads"]), lambda o: 100 / int(o["--threads"]))
    found = tune(machine)
    assert (found.settings.threads, found.settings.threads_batch) == (4, 16)


def test_noise_changes_nothing() -> None:
    noise = iter(range(1000))
    machine = Machine(lambda _o: 100 + next(noise) % 2, lambda _o: 10 + 0.1 * (next(noise) % 2))
    assert tune(machine).settings == Settings(8, 8)


@pytest.mark.parametrize(
    ("faster", "expected"),
    [
        pytest.param(lambda o: o["--ubatch-size"] == "256", {"ubatch_size": 256}, id="a smaller micro-batch"),
        pytest.param(lambda o: o["--flash-attn"] == "off", {"flash_attention": "off"}, id="without flash attention"),
        pytest.param(
            lambda o: o["--cache-type-k"] == "q8_0", {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, id="a quantised cache"
        ),
        pytest.param(lambda o: o.get("--numa") == "distribute", {"numa": "distribute"}, id="spread over the nodes"),
        pytest.param(lambda o: o["--load-mode"] == "none", {"load_mode": "none"}, id="copied into memory"),
    ],
)
def test_what_is_faster_is_chosen(faster: Callable[[dict[str, str]], bool], expected: dict[str, Any]) -> None:
    machine = Machine(lambda o: 150 if faster(o) else 100, lambda _o: 10)
    found = tune(machine, cpu(8, 8, 2))
    assert found.settings == replace(Settings(8, 8), **expected)


def test_one_setting_after_the_other() -> None:
    progress: list[str] = []
    machine = Machine(lambda _o: 100, lambda _o: 10)
    found = tune(machine, cpu(8, 16), progress)
    assert [line.split(":")[0] for line in progress] == [
        "0/9 as it is", "1/9 threads", "2/9 threads", "3/9 threads", "4/9 micro-batch", "5/9 micro-batch",
        "6/9 flash attention", "7/9 cache types", "8/9 load mode",
    ]  # fmt: skip
    assert machine.calls == len(found.figures) == 9


def test_a_quantised_cache_is_not_tried_without_flash_attention() -> None:
    machine = Machine(lambda o: 150 if o["--flash-attn"] == "off" else 100, lambda _o: 10)
    assert not any(one.settings.cache_type_v == "q8_0" for one in tune(machine).figures)
    assert not allowed(Settings(1, 1, flash_attention="off", cache_type_v="q8_0"))


def test_the_micro_batch_is_measured_on_prompts_alone() -> None:
    machine = Machine(lambda _o: 100, lambda o: 1000 if o["--ubatch-size"] == "128" else 10)
    assert tune(machine).settings.ubatch_size == 512


def test_what_was_found_when_the_time_ends_counts() -> None:
    machine = Machine(lambda o: 10 * int(o["--threads"]), lambda _o: 10)
    machine.last_call = 2
    found = tune(machine)
    assert found.settings.threads_batch == 16
    assert found.skipped == ["threads", "micro-batch", "flash attention", "cache types", "load mode"]


def test_no_time_at_all_is_an_error() -> None:
    machine = Machine(lambda _o: 1, lambda _o: 1)
    machine.last_call = 0
    with pytest.raises(CopilotError, match="before the first measurement was complete: raise tune_seconds"):
        tune(machine)


def test_what_fails_is_left_out_and_told() -> None:
    def prompt(options: dict[str, str]) -> float:
        if options["--cache-type-k"] == "q8_0":
            raise CopilotError("llama-bench failed (1)")
        return 100

    found = tune(Machine(prompt, lambda _o: 10))
    assert found.settings == Settings(8, 8)
    assert found.failed == ["8 threads, micro-batch 512, flash attention on, cache q8_0: llama-bench failed (1)"]


def test_no_figures_are_an_error() -> None:
    with pytest.raises(CopilotError, match="no results for 8 threads"):
        tune(Machine(lambda _o: 0, lambda _o: 10))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(row(512, 90.0), {"prompt": 90.0}, id="prompt"),
        pytest.param(row(512, 90.0) + "\n\n" + row(0, 5.5) + "\n", {"prompt": 90.0, "generated": 5.5}, id="both"),
        pytest.param("", {}, id="nothing"),
    ],
)
def test_reading_llama_bench(text: str, expected: dict[str, float]) -> None:
    assert parse_bench(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("| model | size |", id="a table"),
        pytest.param('{"n_gen": 0}', id="no samples"),
        pytest.param('{"n_gen": 0, "samples_ts": []}', id="empty samples"),
        pytest.param("[1]", id="a list"),
    ],
)
def test_another_llama_bench_is_refused(text: str) -> None:
    with pytest.raises(CopilotError, match="another one than this collection knows"):
        parse_bench(text)


def test_the_arguments() -> None:
    found = bench_arguments(Settings(4, 8, numa="isolate"), 8, 512, 0, 256)
    assert found[:6] == ["--threads", "8", "--n-prompt", "512", "--n-gen", "0"]
    assert found[found.index("--numa") :][:2] == ["--numa", "isolate"]
    assert "--numa" not in bench_arguments(Settings(4, 8), 8, 512, 0, 256)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(Settings(8, 8), "8 threads, micro-batch 512, flash attention on, cache f16", id="plain"),
        pytest.param(
            Settings(8, 16, cache_type_v="q8_0", numa="isolate", load_mode="none"),
            "8 threads (16 for prompts), micro-batch 512, flash attention on, cache f16/q8_0, NUMA isolate, load mode none",
            id="everything",
        ),
    ],
)
def test_a_combination_in_words(settings: Settings, words: str) -> None:
    assert brief(settings) == words


def measured() -> dict[str, Any]:
    found = tune(Machine(lambda o: 10 * int(o["--threads"]), lambda _o: 10))
    found.skipped.append("cache types")
    found.failed.append("2 threads: llama-bench failed (1)")
    return entry(found, WorkResult(), identity("a.gguf", 100, "e1", cpu()), Length(), 12.34)


def test_what_is_kept_can_be_read_again() -> None:
    kept = measured()
    again = read_file(write_file({"one": kept}))
    assert again == {"one": kept}
    settings, reason = holding(again, "one", identity("a.gguf", 100, "e1", cpu()))
    assert (settings["threads_batch"], reason) == (16, "")


@pytest.mark.parametrize(
    ("present", "name", "reason"),
    [
        pytest.param(identity("b.gguf", 100, "e1", cpu()), "one", "another model", id="another file"),
        pytest.param(identity("a.gguf", 101, "e1", cpu()), "one", "another model", id="another size"),
        pytest.param(identity("a.gguf", 100, "e2", cpu()), "one", "another engine", id="another engine"),
        pytest.param(identity("a.gguf", 100, "e1", cpu(16)), "one", "another cpu", id="more cores"),
        pytest.param(identity("a.gguf", 100, "e2", cpu(nodes=2)), "one", "engine and another cpu", id="two things"),
        pytest.param(identity("a.gguf", 100, "e1", cpu()), "two", "not tuned", id="a model without figures"),
    ],
)
def test_figures_of_something_else_are_ignored(present: dict[str, Any], name: str, reason: str) -> None:
    settings, said = holding({"one": measured()}, name, present)
    assert settings == {}
    assert reason in said


def test_settings_of_another_version_are_ignored() -> None:
    kept = measured()
    del kept["settings"]["numa"]
    settings, said = holding({"one": kept}, "one", kept["identity"])
    assert (settings, "not one of this version's" in said) == ({}, True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="a list"),
        pytest.param('{"version": 2, "models": {"a": {}}}', id="a later version"),
        pytest.param('{"version": 1, "models": {"a": 3}}', id="no entries"),
    ],
)
def test_a_file_that_is_not_ours_has_no_entries(text: str) -> None:
    assert read_file(text) == {}


def test_the_file_on_the_host(tmp_path: Path) -> None:
    assert store.read_entries(str(tmp_path / "none")) == {}
    (tmp_path / "there").write_text(write_file({"one": measured()}))
    assert list(store.read_entries(str(tmp_path / "there"))) == ["one"]


def test_the_identity_of_what_is_there(tmp_path: Path) -> None:
    model = tmp_path / "a.gguf"
    with pytest.raises(CopilotError, match=r"a\.gguf cannot be read .*run site\.yml first"):
        store.present_identity(str(model), str(tmp_path), cpu())
    model.write_bytes(b"12345")
    (tmp_path / "manifest.json").write_text("{}")
    found = store.present_identity(str(model), str(tmp_path), cpu())
    assert found["model"] == {"file": "a.gguf", "bytes": 5}
    assert len(found["engine"]) == 64
    assert found["cpu"]["numa_nodes"] == 1


def test_the_table() -> None:
    kept = measured()
    lines = table({"copilot-1": kept}).splitlines()
    assert lines[0].split() == ["host", "varied", "settings", "prompt", "t/s", "gen.", "t/s", "turn", "s"]
    assert len({line.index("<-") for line in lines if "<- chosen" in line}) == 1
    assert "copilot-1: a turn (1024 new and 256 generated tokens) takes 32.0 s instead of 38.4 s." in lines
    assert lines[-2:] == [
        "copilot-1: no time was left for cache types; give it more with tune_seconds.",
        "copilot-1: not measured: 2 threads: llama-bench failed (1)",
    ]


PLAIN = Timed(Settings(8, 16), "off", {"cold prompt": 10, "tool call": 3, "file edit": 20})
CHOSEN = Timed(Settings(8, 16), "ngram-mod", {"cold prompt": 10, "tool call": 3, "file edit": 10})
BEFORE = Timed(Settings(8, 8), "off", {"cold prompt": 11.5, "tool call": 3, "file edit": 21})


def test_the_work_of_an_agent_is_kept_and_shown() -> None:
    found = tune(Machine(lambda o: 10 * int(o["--threads"]), lambda _o: 10))
    found.settings = Settings(8, 16)
    work = WorkResult("ngram-mod", BEFORE, CHOSEN, [PLAIN, CHOSEN, BEFORE], ["agent's work: it failed"])
    work.skipped = ["agent's work, speculation ngram-simple"]
    kept = entry(found, work, identity("a.gguf", 100, "e1", cpu()), Length(), 12.34)
    assert [one["chosen"] for one in kept["work"]] == [False, True, False]
    settings, reason = holding({"one": kept}, "one", identity("a.gguf", 100, "e1", cpu()))
    assert (settings["speculation"], reason) == ("ngram-mod", "")
    lines = table({"copilot-1": kept}).splitlines()
    assert table({"copilot-1": json.loads(json.dumps(kept, sort_keys=True))}).splitlines() == lines, "as it is read again"
    gained = "cold prompt 1.15 x, file edit 2.10 x, tool call 1.00 x"
    assert f"copilot-1: against the settings before tuning and no speculation: {gained}." in lines
    assert sum("ngram-mod" in line and line.endswith("<- chosen") for line in lines) == 1
    assert "copilot-1: no time was left for agent's work, speculation ngram-simple; give it more with tune_seconds." in lines
    assert "copilot-1: not measured: agent's work: it failed" in lines


def test_the_chart_is_svg_with_two_bars_for_each_figure() -> None:
    kept = measured()
    root = ElementTree.fromstring(chart({"<host>": kept}))
    bars = [one for one in root if one.tag.endswith("rect") and one.get("height") == str(charts.BAR_HEIGHT)]
    assert len(bars) == 2 * len(kept["figures"])
    assert max(float(one.get("width", "0")) for one in bars) == charts.BAR_WIDTH
    assert any("<host>: " in (one.text or "") for one in root)


def test_a_turn() -> None:
    assert asdict(search.Speed(1024, 256)) == {"prompt": 1024, "generated": 256}
    assert search.Speed(1024, 256).turn_seconds == 2
