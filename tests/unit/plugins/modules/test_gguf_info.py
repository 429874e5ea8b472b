# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.modules import gguf_info
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import models


@pytest.mark.parametrize("check", [pytest.param(False, id="run"), pytest.param(True, id="check_mode")])
def test_whole_model(run_module, tmp_path, check):
    path = models.write(tmp_path / "devstral.gguf", models.DEVSTRAL, models.DEVSTRAL_TENSORS)
    before = path.stat()
    result = run_module(gguf_info, {"path": str(path)}, check=check)
    assert result["changed"] is False
    assert (result["gguf"]["path"], result["gguf"]["truncated"]) == (str(path), False)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_every_returned_fact_is_documented_with_its_type(run_module, tmp_path):
    path = models.write(tmp_path / "devstral.gguf", models.DEVSTRAL, models.DEVSTRAL_TENSORS)
    documented = yaml.safe_load(gguf_info.RETURN)["gguf"]["contains"]
    returned = run_module(gguf_info, {"path": str(path)})["gguf"]
    assert set(documented) == set(returned)
    types = {"str": str, "int": int, "bool": bool, "dict": dict, "raw": object}
    for key, value in returned.items():
        assert isinstance(value, types[documented[key]["type"]]), key


def test_model_cut_in_its_weights_is_reported(run_module, tmp_path):
    path = models.write(tmp_path / "cut.gguf", models.QWEN, models.QWEN_TENSORS, missing=1000)
    facts = run_module(gguf_info, {"path": str(path)})["gguf"]
    assert (facts["truncated"], facts["required_size"] - facts["file_size"]) == (True, 1000)


def test_model_cut_in_its_header_fails(run_module, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(models.header(models.QWEN)[0][:5000])
    result = run_module(gguf_info, {"path": str(path)})
    assert result["failed"] is True
    assert result["msg"] == f"{path} is truncated: its 5000 bytes end within the GGUF header; delete it and download it again."


def test_path_is_expanded(run_module, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    models.write(tmp_path / "small.gguf", {"general.architecture": "llama"})
    assert run_module(gguf_info, {"path": "~/small.gguf"})["gguf"]["path"] == str(tmp_path / "small.gguf")
