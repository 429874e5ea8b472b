# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.fleet import ID, folder_beside, found, host_problem, read_id
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

ONE, OTHER = "6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11", "0d9d6c52-54ad-4f7e-a0a8-0a9a6a3a9b57"


@pytest.fixture
def places(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zones.ini").touch()
    (tmp_path / "b/.slm-copilot").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param(["a/zones.ini"], "a", id="a file"),
        pytest.param(["a"], "a", id="a directory"),
        pytest.param(["a/zones.ini", "c/zones.ini"], "a", id="the first of several"),
        pytest.param(["a/zones.ini", "b/zones.ini"], "b", id="where one is already"),
        pytest.param(["madrid-1,", "c/zones.ini"], "c", id="a list of hosts has no place"),
    ],
)
def test_the_folder_lies_beside_the_inventory(places, sources, expected):
    sources = [one if "," in one else str(places / one) for one in sources]
    assert folder_beside(sources) == str(places / expected / ".slm-copilot")


def test_two_fleets_are_one_too_many(places):
    (places / "c/.slm-copilot").mkdir()
    with pytest.raises(CopilotError, match="more than one holds a fleet .* set copilot_fleet_dir"):
        folder_beside([str(places / "b/zones.ini"), str(places / "c/zones.ini")])


@pytest.mark.parametrize("sources", [["madrid-1,"], []])
def test_without_a_place_the_folder_is_asked_for(sources):
    with pytest.raises(CopilotError, match="set copilot_fleet_dir"):
        folder_beside(sources)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        pytest.param({"folder_id": "", "host_id": ""}, "", id="a new host, a new fleet"),
        pytest.param({"folder_id": ONE, "host_id": ""}, "", id="a new host of a fleet"),
        pytest.param({"folder_id": ONE, "host_id": ONE}, "", id="a host of the fleet"),
        pytest.param({"folder_id": OTHER, "host_id": ONE}, f"fleet {ONE}, and /f holds fleet {OTHER}.", id="of another fleet"),
        pytest.param({"folder_id": "", "host_id": ONE}, f"fleet {ONE}, and /f holds no fleet yet.", id="an empty folder"),
        pytest.param({"folder_id": "", "host_id": "", "host_ca": "A\n", "known_cas": ["A"]}, "", id="before ids, the same CA"),
        pytest.param(
            {"folder_id": "", "host_id": "", "host_ca": "A", "known_cas": [""]}, "a CA that /f does not", id="a CA not here"
        ),
        pytest.param(
            {"folder_id": ONE, "host_id": "", "host_ca": "A", "known_cas": ["B"]}, "a CA that /f does not", id="another CA"
        ),
    ],
)
def test_a_host_knows_its_fleet(state, told):
    problem = host_problem("paris-1", "/f", **state)
    assert (told in problem and "copilot_fleet_dir" in problem and "copilot_fleet_adopt" in problem) if told else problem == ""


def test_a_fleet_is_founded_once(tmp_path):
    folder = tmp_path / "new/.slm-copilot"
    fleet_id, made = found(str(folder))
    assert made and ID.fullmatch(fleet_id) and read_id(str(folder)) == fleet_id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    assert found(str(folder)) == (fleet_id, False)
    assert sorted(os.listdir(folder)) == [".gitignore", "fleet-id"]


def test_of_runs_at_once_one_founds_it(tmp_path):
    with ThreadPoolExecutor(8) as runs:
        ids = {fleet_id for fleet_id, _made in runs.map(lambda _run: found(str(tmp_path / "fleet")), range(32))}
    assert len(ids) == 1


def test_git_ignores_it(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    found(str(tmp_path / ".slm-copilot"))
    (tmp_path / ".slm-copilot/api-keys").touch()
    listed = subprocess.run(["git", "-C", str(tmp_path), "status", "--porcelain"], check=True, capture_output=True)
    assert listed.stdout == b""


def test_a_spoilt_id_is_not_taken_for_none(tmp_path):
    (tmp_path / "fleet-id").write_text("")
    with pytest.raises(CopilotError, match="holds no fleet id"):
        read_id(str(tmp_path))
    with pytest.raises(CopilotError, match="holds no fleet id"):
        found(str(tmp_path))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CopilotError, match="cannot be written to .* set copilot_fleet_dir"):
        found(str(tmp_path / "file/.slm-copilot"))
