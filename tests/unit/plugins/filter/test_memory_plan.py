# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import MISSING, fields

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.filter import memory_plan as plugin
from ansible_collections.slm.copilot.plugins.module_utils import _gguf, _memory
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models

memory_plan = plugin.FilterModule().filters()["memory_plan"]


@pytest.fixture
def gguf(tmp_path):
    return _gguf.check(str(models.write(tmp_path / "qwen.gguf", models.QWEN, models.QWEN_TENSORS)))


def test_plan_of_the_helper(gguf):
    settings = {"slots": 2, "context_size": 8192, "host_memory_mib": 16000}
    assert memory_plan(gguf, **settings) == _memory.plan(gguf, **settings)


def test_documented_options_and_defaults_are_those_of_the_helper():
    options = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    documented = {name: option.get("default", MISSING) for name, option in options.items() if name != "_input"}
    assert documented == {field.name: field.default for field in fields(_memory.Settings)}
    choices = {name: tuple(option["choices"]) for name, option in options.items() if "choices" in option}
    assert choices == _memory.CHOICES


def test_documented_result_is_the_result(gguf):
    contains = yaml.safe_load(plugin.RETURN)["_value"]["contains"]
    plan = memory_plan(gguf, host_memory_mib=16000)
    assert set(contains) == set(plan)
    assert set(contains["mib"]["contains"]) == set(plan["mib"]) == set(plan["bytes"])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({}, "memory_plan: give it the gguf dictionary of gguf_info, and host_memory_mib", id="no_host_memory"),
        pytest.param(
            {"host_memory_mib": 1, "slot": 2}, "memory_plan: no such argument: slot; there are cache_type_k", id="misspelt"
        ),
        pytest.param(
            {"host_memory_mib": 1, "slots": "2"},
            "memory_plan: slots is '2'; give a whole number of at least 1.",
            id="out_of_range",
        ),
    ],
)
def test_refusals(gguf, settings, text):
    with pytest.raises(AnsibleFilterError) as problem:
        memory_plan(gguf, **settings)
    assert str(problem.value).startswith(text)


def test_input_is_not_a_dictionary():
    with pytest.raises(AnsibleFilterError) as problem:
        memory_plan("model.gguf", host_memory_mib=1)
    assert str(problem.value) == "memory_plan: give it the gguf dictionary of gguf_info, and host_memory_mib"
