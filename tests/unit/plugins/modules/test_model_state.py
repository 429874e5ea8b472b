# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.modules import model_state, model_state_info


@pytest.fixture
def parameters(server):
    return {"socket": server.path}


def states(run_module, parameters):
    return {one["name"]: one["status"] for one in run_module(model_state_info, parameters)["models"]}


def test_check_run_check_run(run_module, parameters):
    wanted = {**parameters, "models": ["one"]}
    foreseen = run_module(model_state, wanted, check=True, diff=True)
    assert foreseen["changed_models"] == ["one"] and states(run_module, parameters)["one"] == "unloaded"
    done = run_module(model_state, wanted, diff=True)
    assert done["changed_models"] == ["one"] and done["diff"] == foreseen["diff"]
    assert states(run_module, parameters)["one"] == "loaded"
    assert not run_module(model_state, wanted, check=True)["changed"]
    assert not run_module(model_state, wanted)["changed"]


def test_a_context_is_written_into_the_presets(run_module, parameters, tmp_path):
    presets = tmp_path / "models.ini"
    presets.write_text("[one]\nctx-size = 2048\nparallel = 2\n")
    wanted = {**parameters, "models": ["one"], "context_size": 4096, "presets_path": str(presets)}
    assert run_module(model_state, wanted, check=True)["changed"] and "2048" in presets.read_text()
    assert run_module(model_state, wanted)["changed_models"] == ["one"]
    assert presets.read_text() == "[one]\nctx-size = 8192\nparallel = 2\n"
    assert not run_module(model_state, wanted)["changed"]


def test_who_would_be_cut_is_told(run_module, parameters, server):
    assert run_module(model_state_info, parameters)["busy"] == {"two": 3}
    server.plain = True
    assert run_module(model_state_info, parameters)["busy"] == {"only": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"models": ["three"]}, "There are: one, two.", id="an unknown model"),
        pytest.param({"socket": "/nowhere"}, "does not answer at /nowhere", id="nobody there"),
        pytest.param({"context_size": 512, "presets_path": "/nowhere"}, "models has 0 names", id="the context of none"),
        pytest.param(
            {"models": ["one"], "context_size": 512, "presets_path": "/nowhere"}, "/nowhere cannot be used", id="no presets"
        ),
    ],
)
def test_what_cannot_be_done(run_module, parameters, change, message):
    result = run_module(model_state, {**parameters, **change})
    assert message in result["msg"]
