# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What follows for a model from what a host did with probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

model_table = pytest.importorskip("model_table")

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.advice import advice, advice_table, model_speeds
from ansible_collections.slm.copilot.plugins.module_utils._model.probe import Probe, write_probe
from ansible_collections.slm.copilot.plugins.module_utils._model.sizes import facts_of
from ansible_collections.slm.copilot.plugins.module_utils._model.speed import (
    ATTENTION,
    ATTENTION_PROMPT,
    HostSpeed,
    TypeSpeed,
    expected,
    expected_of_size,
    measured,
    read_speed,
    speed_of,
    weights_probe,
    write_speed,
)

GIGA = 1e9
Q4 = TypeSpeed(prompt=1000 * GIGA, generated=10 * GIGA)
HOST = HostSpeed({"Q4_K": Q4}, attention_prompt=100 * GIGA, attention_generated=5 * GIGA, layer_seconds=0.0)
CATALOGUE = model_table.catalogue()
DENSE, EXPERTS, MAMBA = (facts_of(CATALOGUE[name]) for name in ("mistral-7b", "qwen3-coder-30b-a3b", "codestral-mamba-7b"))


class Machine:
    """One that computes so fast, exactly."""

    def __init__(self, host: HostSpeed) -> None:
        self.host = host
        self.asked: list[tuple[str, int, int, int]] = []

    def __call__(self, probe: Probe, prompt: int, generated: int, depth: int) -> dict[str, float]:
        self.asked.append((probe.weights, prompt, generated, depth))
        _weights, size = probe.active
        if probe == ATTENTION:
            products = 2 * probe.layers * probe.heads * probe.head * prompt / 2
            read = probe.kv_bytes_per_token * depth / self.host.attention_generated
            return {
                "prompt": self.host.attention_prompt / max(products, 1),
                "generated": 1 / (probe.layers * self.host.layer_seconds + read),
            }
        of_type = self.host.types[probe.weights]
        attends = 2 * probe.layers * probe.heads * probe.head * prompt / 2 / self.host.attention_prompt
        return {"prompt": 1 / (probe.computed_in_prompts / of_type.prompt + attends), "generated": of_type.generated / size}


def test_a_machine_is_measured_as_it_is() -> None:
    host = HostSpeed({"Q4_K": Q4, "Q8_0": TypeSpeed(700 * GIGA, 12 * GIGA)}, 100 * GIGA, 5 * GIGA, 0.0001)
    found = measured(Machine(host), ["Q4_K", "Q8_0"])
    for kind, speed in host.types.items():
        assert (found.types[kind].prompt, found.types[kind].generated) == pytest.approx((speed.prompt, speed.generated))
    assert found.attention_prompt == pytest.approx(host.attention_prompt)
    assert found.attention_generated == pytest.approx(host.attention_generated)
    assert found.layer_seconds == pytest.approx(host.layer_seconds)


def test_no_figures_are_an_error() -> None:
    with pytest.raises(CopilotError, match="llama-bench returned no results for a probe"):
        measured(lambda *_arguments: {"prompt": 1.0}, ["Q4_K"])


def test_a_dense_model_reads_all_of_its_weights_for_a_token() -> None:
    assert expected(DENSE, HOST).generated == pytest.approx(10 * GIGA / DENSE["active_bytes"])
    weights = DENSE["active_parameters"] - DENSE["output_parameters"]
    attention = 2 * 32 * 32 * 128 * 256 / (100 * GIGA)
    assert expected(DENSE, HOST).prompt == pytest.approx(1 / (weights / (1000 * GIGA) + attention))


def test_a_mixture_of_experts_is_quicker_though_it_is_larger() -> None:
    assert EXPERTS["tensor_bytes"] > 4 * DENSE["tensor_bytes"]
    assert expected(EXPERTS, HOST).generated > 2 * expected(DENSE, HOST).generated


def test_attention_makes_long_prompts_longer_than_their_tokens() -> None:
    found, slow = expected(DENSE, HOST), HostSpeed(HOST.types, 10 * GIGA, 5 * GIGA, 0.0)
    assert found.long_prompt_seconds > 20_000 / found.prompt
    assert expected(DENSE, slow).long_prompt_seconds > 2 * found.long_prompt_seconds
    assert expected(MAMBA, slow) == expected(MAMBA, HOST), "which attends to nothing"


def test_a_window_bounds_attention() -> None:
    facts = facts_of(CATALOGUE["gpt-oss-20b"])
    assert expected(facts, HOST).long_prompt_seconds < expected({**facts, "sliding_window": 0}, HOST).long_prompt_seconds


def test_a_warm_turn_reads_the_conversation_for_each_token() -> None:
    slow = HostSpeed(HOST.types, HOST.attention_prompt, 1 * GIGA, 0.0)
    longer = expected(DENSE, slow).warm_turn_seconds - expected(DENSE, HOST).warm_turn_seconds
    assert longer == pytest.approx(256 * 20_000 * 32 * 8 * 256 * 2 * (1 / GIGA - 1 / (5 * GIGA)))


def test_each_layer_takes_its_time() -> None:
    slow = HostSpeed(HOST.types, HOST.attention_prompt, HOST.attention_generated, 0.001)
    assert 1 / expected(DENSE, slow).generated - 1 / expected(DENSE, HOST).generated == pytest.approx(32 * 0.001)


@pytest.mark.parametrize(
    ("kind", "expected_of"),
    [
        pytest.param("Q8_0", "Q8_0", id="its_own"),
        pytest.param("Q6_K", "Q8_0", id="the_nearest"),
        pytest.param("Q4_0", "Q4_K", id="the_nearest_of_the_smaller"),
    ],
)
def test_the_speed_is_that_of_the_type_of_most_weights(kind: str, expected_of: str) -> None:
    host = HostSpeed({"Q4_K": Q4, "Q8_0": TypeSpeed(1.0, 2.0)}, 1e30, 1e30, 0.0)
    facts = {**DENSE, "tensor_types": {"F32": 10, kind: 1000}}
    assert expected(facts, host).generated == pytest.approx(host.types[expected_of].generated / DENSE["active_bytes"])


def test_what_was_measured_can_be_read_again() -> None:
    text = write_speed(HOST, {"engine": "a"})
    assert read_speed(text) == read_speed(text, {"engine": "a"}) == HOST
    assert read_speed(text, {"engine": "b"}) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no json", id="text"),
        pytest.param("[]", id="a_list"),
        pytest.param('{"version": 0}', id="another_version"),
        pytest.param(write_speed(HOST, {}).replace('"attention_prompt"', '"other"'), id="half"),
        pytest.param(write_speed(HostSpeed({}, 1.0, 1.0, 1.0), {}), id="no_types"),
    ],
)
def test_a_file_that_is_not_ours_says_nothing(text: str) -> None:
    assert read_speed(text) is None


@pytest.mark.parametrize("kind", ["Q4_K", "Q8_0", "MXFP4", "F16", "IQ3_S"])
def test_a_probe_is_a_whole_model_that_takes_no_room(tmp_path: Path, kind: str) -> None:
    probe, path = weights_probe(kind), tmp_path / "probe.gguf"
    write_probe(str(path), probe)
    facts = _gguf.check(str(path))
    assert (facts["active_parameters"], facts["active_bytes"]) == pytest.approx(probe.active, rel=2e-3)
    assert (facts["layers"], facts["kv_heads"], facts["tensor_type"]) == (2, 8, kind)
    assert path.stat().st_blocks * 512 < path.stat().st_size / 100


def test_a_prompt_leaves_out_what_follows_attention_in_the_last_layer() -> None:
    one, two = (Probe(layers=layers, width=64, feed_forward=256, heads=2, kv_heads=1, head=32) for layers in (1, 2))
    assert one.computed_in_prompts == 64 * (64 + 2 * 32)
    assert two.computed_in_prompts - one.computed_in_prompts == 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 256


SPEED: dict[str, Any] = {"version": 1, "types": {"Q4_K": {"prompt": 1e12, "generated": 1e10}}} | {
    "attention_prompt": 1e11,
    "attention_generated": 5e9,
    "layer_seconds": 0.0,
}
OWN = {"src": "/own.gguf", "size_gb": 10, "ram_gb": 12}


def test_advice_says_what_fits_and_how_fast_it_is() -> None:
    host = speed_of(SPEED)
    assert host is not None
    assert advice(CATALOGUE["devstral-small-2"], host, 32000, 2048, 2).fits == "2 x 32768", "as the sizing guide says"
    assert advice(CATALOGUE["devstral-small-2"], host, 15800, 2048, 2).fits == ""
    rough = advice(OWN, host, 16000, 2048, 2)
    assert (rough.rough, rough.fits, rough.speed) == (True, "1 x 4096", expected_of_size(10e9, host))
    assert rough.speed is not None and rough.speed.generated == pytest.approx(1.0)
    assert advice({"src": "/own.gguf"}, host, 16000, 2048, 2).speed is None


def test_the_table_has_a_line_for_each_model_on_each_host() -> None:
    hosts = {name: {"speed": SPEED, "memory_mib": memory, "reserve_mib": 2048} for name, memory in (("a", 8000), ("b", 32000))}
    lines = advice_table(hosts, {**CATALOGUE, "own": OWN, "unknown": {"src": "/x.gguf"}}, 2).splitlines()
    assert lines[0].split("  ")[0] == "host"
    assert [line.split()[:2] for line in lines[1 : 2 * len(CATALOGUE) + 5]] == [
        [host, name] for host in hosts for name in (*CATALOGUE, "own", "unknown")
    ]
    found = {tuple(line.split()[:2]): line.split()[2:] for line in lines[1 : 2 * len(CATALOGUE) + 5]}
    assert found["a", "devstral-small-2"][0] == "no"
    assert found["b", "devstral-small-2"][:3] == ["2", "x", "32768"]
    assert found["b", "own"][:3] == ["~1", "x", "4096"]
    assert found["b", "unknown"] == ["unknown", "-", "-", "-", "-"]


def test_a_host_that_was_not_measured_is_named() -> None:
    with pytest.raises(CopilotError, match="^b was not measured"):
        advice_table({"b": {"speed": {}, "memory_mib": 1, "reserve_mib": 0}}, CATALOGUE, 2)


def test_what_was_measured_stands_beside_what_was_expected() -> None:
    expectations = {"one": {"prompt": 61.234, "generated": 7.96}, "two": {"prompt": 1.0, "generated": 2.0}}
    figures = [
        {"chosen": False, "prompt_tokens_per_second": 1, "generated_tokens_per_second": 1},
        {"chosen": True, "prompt_tokens_per_second": 65.5, "generated_tokens_per_second": 8.2},
    ]
    assert model_speeds(expectations, {"one": {"figures": figures}}) == {
        "one": {"expected": {"prompt": 61.2, "generated": 8.0}, "measured": {"prompt": 65.5, "generated": 8.2}},
        "two": {"expected": {"prompt": 1.0, "generated": 2.0}},
    }


def test_the_probe_of_attention_is_as_long_as_what_it_says() -> None:
    machine = Machine(HostSpeed({"Q4_K": Q4}, 1e9, 1e9, 0.001))
    measured(machine, ["Q4_K"])
    assert [one[1:] for one in machine.asked[:2]] == [(ATTENTION_PROMPT, 32, 0), (0, 32, ATTENTION_PROMPT)]
