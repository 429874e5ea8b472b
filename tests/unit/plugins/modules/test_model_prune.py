# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which models go once nothing uses them."""

from __future__ import annotations

import fcntl

import pytest
from ansible_collections.slm.copilot.plugins.modules.model_prune import prune


@pytest.fixture
def models(tmp_path):
    for name in ("used.gguf", "old.gguf"):
        for ending in ("", ".json", ".lock"):
            (tmp_path / f"{name}{ending}").write_bytes(bytes(1 << 20 if not ending else 0))
    (tmp_path / "own.gguf").write_text("of an operator")
    (tmp_path / "refused.gguf.lock").touch()
    return tmp_path


def names(paths):
    return {str(path).rpartition("/")[2] for path in paths}


def test_what_was_fetched_and_is_not_used_goes(models):
    used, old = [str(models / "used.gguf")], {"old.gguf", "old.gguf.json", "old.gguf.lock", "refused.gguf.lock"}
    before = names(models.iterdir())
    removed, kept, freed = prune(str(models), used, [], change=False)
    assert (names(removed), freed >> 20) == (old, 1)
    assert names(models.iterdir()) == before

    assert prune(str(models), used, [], change=True) == (removed, kept, freed)
    assert kept == {str(models / "own.gguf"): "it was not fetched by us"}
    assert names(models.iterdir()) == before - old
    assert prune(str(models), used, [], change=True) == ([], kept, 0)


def test_what_a_service_still_names_stays(models, tmp_path_factory):
    unit = tmp_path_factory.mktemp("etc") / "server.service"
    unit.write_text(f"ExecStart=/bin/llama-server --model {models}/old.gguf --port 1\n")
    removed, kept, _freed = prune(str(models), [str(models / "used.gguf")], [str(unit), "/none"], change=True)
    assert names(removed) == {"refused.gguf.lock"}
    assert kept[str(models / "old.gguf")].startswith("a service still names it")


def test_what_is_being_fetched_stays(models):
    with open(models / "old.gguf.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _removed, kept, _freed = prune(str(models), [str(models / "used.gguf")], [], change=True)
    assert kept[str(models / "old.gguf")] == "it is being fetched"
    assert (models / "old.gguf").exists()


def test_a_host_without_models_has_nothing_to_lose(tmp_path):
    assert prune(str(tmp_path / "none"), [], [], change=True) == ([], {}, 0)
