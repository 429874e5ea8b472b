# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a backup holds, and what a restore refuses."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access import backup
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

ID = "6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11"
OTHER = "00000000-8d7a-4c39-9a52-3f0f7a1f8c11"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A folder as a fleet has it."""
    folder = tmp_path / "inventory" / ".slm-copilot"
    (folder / "ca").mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    for name, content, mode in (
        ("fleet-id", f"{ID}\n", 0o600),
        ("api-keys", "the keys", 0o600),
        ("ca/ca.pem", "the CA", 0o644),
        ("ca/ca-key.pem", "\x00\xff binary", 0o600),
        ("ca/.lock", "somebody", 0o600),
        (".api-keys.0123456789abcdef.new", "half", 0o600),
    ):
        (folder / name).write_text(content)
        (folder / name).chmod(mode)
    (folder.parent / "models.lock.yml").write_text("tiny: {}\n")
    return folder


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of everything that a backup is to hold."""
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
        if path.name != ".lock" and not path.name.endswith(".new")
    }


def state_of(fleet: Path) -> backup.State:
    return backup.unpack(backup.pack(backup.read_state(str(fleet), str(fleet.parent / "models.lock.yml"))))


def restored(state: backup.State, folder: Path, replace: bool = False) -> dict[str, str]:
    lock = str(folder.parent / "models.lock.yml")
    plan = backup.plan_restore(state, str(folder), lock, replace)
    backup.restore(plan, str(folder), lock)
    return plan.actions


def test_restored_folder_is_the_same(fleet: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare" / ".slm-copilot"
    assert set(restored(state_of(fleet), bare).values()) == {"make"}
    assert files_of(bare) == files_of(fleet)
    assert (bare.parent / "models.lock.yml").read_text() == "tiny: {}\n"
    assert restored(state_of(fleet), bare) == {}


def test_locks_and_half_written_files_are_left_out(fleet: Path) -> None:
    assert [entry.path for entry in state_of(fleet).entries] == [
        ".", "api-keys", "ca", "ca/ca-key.pem", "ca/ca.pem", "fleet-id",
    ]  # fmt: skip


def test_same_state_makes_the_same_document(fleet: Path) -> None:
    assert backup.pack(backup.read_state(str(fleet))) == backup.pack(backup.read_state(str(fleet)))


def test_folder_without_a_fleet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CopilotError, match="contains no fleet to back up"):
        backup.read_state(str(tmp_path))


def test_link_is_not_backed_up(fleet: Path) -> None:
    (fleet / "ca" / "elsewhere").symlink_to("/etc/shadow")
    with pytest.raises(CopilotError, match="elsewhere is a link, which a backup cannot hold"):
        backup.read_state(str(fleet))


def test_wrong_mode_alone_is_mended(fleet: Path) -> None:
    state = state_of(fleet)
    (fleet / "api-keys").chmod(0o644)
    assert restored(state, fleet) == {str(fleet / "api-keys"): "mode"}
    assert stat.S_IMODE((fleet / "api-keys").stat().st_mode) == 0o600


def test_folder_of_another_fleet_is_refused(fleet: Path) -> None:
    state = state_of(fleet)
    (fleet / "fleet-id").write_text(f"{OTHER}\n")
    with pytest.raises(CopilotError, match=f"holds fleet {OTHER}, and the archive fleet {ID}"):
        restored(state, fleet, replace=True)


def test_folder_of_nobody_knows_whom_is_refused(fleet: Path) -> None:
    state = state_of(fleet)
    (fleet / "fleet-id").unlink()
    (fleet / "ca" / "ca.pem").write_text("another CA")
    with pytest.raises(CopilotError, match="ca.pem would be replaced, and .* does not say which fleet"):
        restored(state, fleet, replace=True)


def test_interrupted_restore_goes_on(fleet: Path) -> None:
    state = state_of(fleet)
    (fleet / "fleet-id").unlink()
    (fleet / "ca" / "ca.pem").unlink()
    assert set(restored(state, fleet).values()) == {"make"}


def test_newer_files_of_the_same_fleet_are_replaced_only_on_request(fleet: Path) -> None:
    state = state_of(fleet)
    (fleet / "api-keys").write_text("newer keys")
    with pytest.raises(CopilotError, match="confirmed=true"):
        restored(state, fleet)
    assert (fleet / "api-keys").read_text() == "newer keys"
    assert restored(state, fleet, replace=True) == {str(fleet / "api-keys"): "replace"}
    assert (fleet / "api-keys").read_text() == "the keys"


@pytest.mark.parametrize("name", ["ca", "api-keys"])
def test_nothing_is_written_through_a_link(fleet: Path, tmp_path: Path, name: str) -> None:
    state = state_of(fleet)
    (fleet / name).rename(tmp_path / "moved")
    (fleet / name).symlink_to(tmp_path / "moved")
    with pytest.raises(CopilotError, match=f"{name} is a link"):
        restored(state, fleet, replace=True)


def document(**changes: Any) -> bytes:
    """A good document, but for what is given."""
    fleet_id = "NmYxYzViMGUtOGQ3YS00YzM5LTlhNTItM2YwZjdhMWY4YzExCg=="
    entries = [{"path": ".", "mode": "0700"}, {"path": "fleet-id", "mode": "0600", "content": fleet_id}]
    good = {"kind": backup.KIND, "format": 1, "fleet": ID, "entries": entries, "model_lock": None}
    more = changes.pop("more", [])
    return json.dumps({**good, **changes, "entries": entries + more}).encode()


def test_good_document_is_read() -> None:
    assert backup.unpack(document()).fleet == ID


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        pytest.param(b"{", "is damaged: it is not a JSON document", id="cut"),
        pytest.param(b"[]", "is not a backup made by the playbook", id="list"),
        pytest.param(document(kind="other"), "is not a backup made by the playbook", id="another kind"),
        pytest.param(document(format="1"), "does not say which format", id="format is text"),
        pytest.param(document(format=2), "has format 2, and this version of slm.copilot reads up to 1", id="newer"),
        pytest.param(document(fleet=OTHER), "its fleet id is missing", id="id differs"),
        pytest.param(document(more=[{"path": "x", "mode": "4755", "content": ""}]), "an entry is incomplete", id="set-uid"),
        pytest.param(document(more=[{"path": "x", "mode": "0600", "content": "?"}]), "an entry is incomplete", id="base64"),
        pytest.param(document(more=[{"mode": "0600"}]), "an entry is incomplete", id="no path"),
        pytest.param(document(more=[{"path": "../x", "mode": "0600", "content": ""}]), "'../x', which leaves", id="above"),
        pytest.param(document(more=[{"path": "/x", "mode": "0600", "content": ""}]), "'/x', which leaves", id="absolute"),
        pytest.param(document(more=[{"path": "a\0b", "mode": "0600", "content": ""}]), "which leaves", id="NUL"),
        pytest.param(document(more=[{"path": "a/b", "mode": "0600", "content": ""}]), "its folder is missing", id="no folder"),
        pytest.param(document(more=[{"path": "fleet-id", "mode": "0700"}]), "is there twice", id="twice"),
        pytest.param(document(model_lock={"path": "/x", "mode": "0600", "content": ""}), "model lock file is none", id="lock"),
    ],
)
def test_damaged_document_is_refused(damaged: bytes, message: str) -> None:
    with pytest.raises(CopilotError, match=message):
        backup.unpack(damaged)
