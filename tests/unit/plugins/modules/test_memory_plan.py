# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import asdict

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.module_utils._host import meminfo
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as memory
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.settings import Settings
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.several import plan_models
from ansible_collections.slm.copilot.plugins.modules import memory_plan
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models


@pytest.fixture
def devstral(tmp_path):
    return str(models.write(tmp_path / "devstral.gguf", models.DEVSTRAL, models.DEVSTRAL_TENSORS))


@pytest.fixture
def qwen(tmp_path):
    return str(models.write(tmp_path / "qwen.gguf", models.QWEN, models.QWEN_TENSORS))


@pytest.mark.parametrize("check", [pytest.param(False, id="run"), pytest.param(True, id="check_mode")])
def test_one_model_is_planned_as_by_the_helper(run_module, devstral, check):
    result = run_module(
        memory_plan, {"path": devstral, "slots": 2, "prompt_cache_mib": "auto", "host_memory_mib": 32000}, check=check
    )
    expected = memory.plan(gguf.check(devstral), slots=2, prompt_cache_mib="auto", host_memory_mib=32000)
    assert result == {"changed": False, "plan": expected, "tools": False, "expected": {}, "invocation": result["invocation"]}


def test_several_models_are_planned_as_by_the_helper(run_module, devstral, qwen):
    listed = [
        {"name": "code", "path": devstral},
        {"name": "fim", "path": qwen, "pinned": True, "settings": {"context_size": "4096"}},
    ]
    result = run_module(memory_plan, {"models": listed, "prompt_cache_mib": 0, "host_memory_mib": 32000, "most_loaded": 1})
    expected = [
        {"name": "code", "gguf": gguf.check(devstral), "prompt_cache_mib": 0},
        {"name": "fim", "gguf": gguf.check(qwen), "prompt_cache_mib": 0, "pinned": True, "context_size": 4096},
    ]
    assert result["plan"] == plan_models(expected, host_memory_mib=32000, most_loaded=1)
    assert result["tools"] == {"code": False, "fim": False}


def test_a_draft_model_is_planned(run_module, qwen, devstral):
    asked = {"path": qwen, "speculation": "ngram-mod,draft-simple", "host_memory_mib": 32000, "save_slots": True}
    plan = run_module(memory_plan, {**asked, "draft_path": qwen})["plan"]
    assert plan["mib"]["drafts"] > plan["mib"]["weights"]
    assert f" + drafts {plan['mib']['drafts']} + " in plan["explanation"]
    assert plan["settings"]["save_slots"] is False
    assert "copilot_save_slots has no effect, since llama-server saves no state of a draft model." in plan["warnings"][0]
    listed = {"models": [{"name": "a", "path": qwen, "draft_path": qwen}, {"name": "b", "path": qwen}]}
    several = run_module(memory_plan, {**listed, "speculation": "ngram-mod", "host_memory_mib": 32000})["plan"]
    assert several["models"]["a"]["mib"]["drafts"] == 0  # another method is set
    refused = run_module(memory_plan, {**asked, "draft_path": devstral})["msg"]
    assert f"{devstral} cannot draft for {qwen}, since its tokenizer is another one: it has 131072 tokens instead of" in refused
    assert "there is no draft model: give its draft_path" in run_module(memory_plan, asked)["msg"]


def test_layers_that_a_file_does_not_have_guess_nothing(run_module, qwen):
    plan = run_module(memory_plan, {"path": qwen, "speculation": "ngram-mod,draft-mtp"})["plan"]
    assert (plan["settings"]["speculation"], plan["mib"]["drafts"]) == ("ngram-mod", 0)
    assert plan["warnings"] == ["Speculation by draft-mtp is off, since the model has no layers for it."]


def test_the_host_says_how_much_memory_it_has(run_module, qwen):
    plan = run_module(memory_plan, {"path": qwen})["plan"]
    assert plan["mib"]["host_memory"] == meminfo.memory_mib("MemTotal")


def test_defaults_are_those_of_the_helper(run_module, qwen):
    assert run_module(memory_plan, {"path": qwen})["plan"]["settings"] == asdict(Settings())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"slots": "two"}, "slots is 'two'; give a whole number of at least 1 or auto.", id="text"),
        pytest.param({"context_size": "-1"}, "context_size is '-1'; give a whole number of at least 1 or auto.", id="negative"),
        pytest.param({"path": "/nowhere/model.gguf"}, "/nowhere/model.gguf does not exist", id="missing_file"),
        pytest.param({"models": []}, "mutually exclusive", id="both_forms"),
        pytest.param({"path": None}, "there are no models to plan for; give at least one.", id="nothing"),
    ],
)
def test_refusals(run_module, qwen, change, expected):
    result = run_module(memory_plan, {"path": qwen, **change})
    assert result["failed"] is True
    assert expected in result["msg"]


def test_a_setting_of_a_model_that_does_not_exist_is_named_with_the_model(run_module, qwen):
    result = run_module(memory_plan, {"models": [{"name": "fim", "path": qwen, "settings": {"context": 1}}]})
    assert result["msg"].startswith("fim: there is no setting context; known are slots, context_size,")


@pytest.mark.parametrize("several", [pytest.param(False, id="one model"), pytest.param(True, id="one of several")])
def test_a_model_that_is_still_to_come_has_no_plan_where_that_is_allowed(run_module, qwen, several):
    missing = "/no/such/model.gguf"
    models = {"models": [{"name": "fim", "path": qwen}, {"name": "chat", "path": missing}]} if several else {"path": missing}
    assert run_module(memory_plan, {**models, "allow_missing": True}) == run_module(
        memory_plan, {**models, "allow_missing": True}, check=True
    )
    assert run_module(memory_plan, {**models, "allow_missing": True})["plan"] is None
    assert run_module(memory_plan, models)["failed"]
    assert run_module(memory_plan, {"path": qwen, "allow_missing": True})["plan"]["fits"] in (True, False)


def documented(several):
    contains = yaml.safe_load(memory_plan.RETURN)["plan"]["contains"]
    returned = ("always", "with O(models)" if several else "with O(path)")
    return {name: value for name, value in contains.items() if value["returned"] in returned}


def test_what_is_returned_is_documented(run_module, devstral, qwen):
    plan = run_module(memory_plan, {"path": devstral})["plan"]
    assert set(documented(several=False)) == set(plan)
    assert set(documented(several=False)["mib"]["contains"]) == set(plan["mib"]) == set(plan["bytes"])
    several = run_module(memory_plan, {"models": [{"name": "fim", "path": qwen}]})["plan"]
    assert set(documented(several=True)) == set(several)
    assert set(documented(several=True)["models"]["sample"]["devstral-small-2"]) == set(several["models"]["fim"])


def test_documented_options_are_those_of_the_module():
    options = yaml.safe_load(memory_plan.DOCUMENTATION)["options"]
    for name, spec in memory_plan.SETTINGS.items():
        assert options[name].get("default") == spec.get("default"), name
        assert options[name].get("choices") == spec.get("choices"), name
    assert set(options["models"]["suboptions"]) == set(memory_plan.MODEL)
