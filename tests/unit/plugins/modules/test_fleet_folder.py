# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.slm.copilot.plugins.modules import fleet_folder


def test_check_run_check_run(run_module, tmp_path):
    parameters = {"path": str(tmp_path / "fleet")}
    foreseen = run_module(fleet_folder, parameters, check=True)
    assert foreseen["changed"] and foreseen["id"] == ""
    assert not (tmp_path / "fleet").exists()
    made = run_module(fleet_folder, parameters)
    assert made["changed"] and made["id"] == (tmp_path / "fleet/fleet-id").read_text().strip()
    for check in (True, False):
        again = run_module(fleet_folder, parameters, check=check)
        assert not again["changed"] and again["id"] == made["id"]


def test_what_stands_in_the_way_is_told(run_module, tmp_path):
    (tmp_path / "file").touch()
    assert "set copilot_fleet_dir" in run_module(fleet_folder, {"path": str(tmp_path / "file/fleet")})["msg"]
