# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Of which models a run warns that agents get no calls from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

VARIABLES = Path(__file__).resolve().parents[3] / "roles/llama_server/vars/main.yml"
CATALOGUE = {"coder": {"fim_only": True}, "chat": {}, "deaf": {}}


@pytest.mark.parametrize(
    ("tools", "warned"),
    [
        pytest.param({"chat": True, "deaf": False, "coder": False}, ["deaf"], id="several, one for completion"),
        pytest.param({"chat": True}, [], id="several that are shown tools"),
        pytest.param(False, ["deaf"], id="one"),
        pytest.param(True, [], id="one that is shown tools"),
    ],
)
def test_a_run_warns_of_models_that_are_shown_no_tools(tools: Any, warned: list[str]) -> None:
    roles = yaml.safe_load(VARIABLES.read_text())
    check = next(one for one in roles["__llama_server_plan_checks"] if "warn_msg" in one)
    known = {
        "llama_server_result": {"tools": tools},
        "__llama_server_several": isinstance(tools, dict),
        "llama_server_models": [{"id": "deaf"}],
        "model_fetch_catalogue": CATALOGUE,
        "__llama_server_without_tools": trust_as_template(roles["__llama_server_without_tools"]),
        "inventory_hostname": "madrid-1",
    }
    templar = Templar(DataLoader(), variables=known)
    assert templar.template(trust_as_template("{{ __llama_server_without_tools }}")) == warned
    assert templar.evaluate_conditional(trust_as_template(check["that"])) is not bool(warned)
    words = templar.template(trust_as_template(check["warn_msg"]))
    assert words.startswith(f"madrid-1: the chat template of {', '.join(warned)} does not support tools.")
