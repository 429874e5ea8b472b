# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's state goes into an archive, is lost, and comes back, by the playbooks."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from gateway_rig import play
from rig import CHECKOUT

ID = "6f1c5b0e-8d7a-4c39-9a52-3f0f7a1f8c11"
SECRETS = ("sk-the-key-of-alice-in-this-test", "the password of the archive")


def fingerprint(place: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of all that is there, but for the locks of runs."""
    return {
        str(path.relative_to(place)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in place.rglob("*")
        if path.name != ".lock"
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an inventory, and a fleet's state beside it."""
    place = tmp_path / "inventory"
    fleet = place / ".slm-copilot"
    (fleet / "ca").mkdir(parents=True)
    hosts = {"hosts": {"here": {"ansible_connection": "local"}}}
    (place / "hosts.json").write_text(json.dumps({"all": {"children": {"copilot_servers": hosts}}}))
    (place / ".slm-copilot.models.lock.yml").write_text("tiny: {}\n")
    (tmp_path / "password").write_text(SECRETS[1])
    for name, content in (("fleet-id", f"{ID}\n"), ("api-keys", SECRETS[0]), ("ca/ca.pem", "a CA"), ("ca/ca-key.pem", "its key")):
        (fleet / name).write_text(content)
        (fleet / name).chmod(0o644 if name == "ca/ca.pem" else 0o600)
    for folder in (fleet, fleet / "ca"):
        folder.chmod(0o700)
    return place


def run(place: Path, playbook: str, *arguments: str, returns: int = 0) -> str:
    """Runs one of the playbooks with all its words, and returns them. No secret is among them."""
    done = play(
        CHECKOUT / "playbooks" / f"{playbook}.yml",
        place / "hosts.json",
        "-vvv",
        *("-e", f"backup_file={place.parent / 'fleet.vault'}", "-e", f"backup_password_file={place.parent / 'password'}"),
        *arguments,
    )
    assert (done.returncode != 0) == bool(returns), done.stdout[-3000:]
    assert not [secret for secret in SECRETS if secret in done.stdout]
    return done.stdout


def test_lost_state_comes_back(place: Path) -> None:
    before = fingerprint(place)
    run(place, "backup")
    archive = place.parent / "fleet.vault"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert archive.read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")

    shutil.rmtree(place / ".slm-copilot")
    (place / ".slm-copilot.models.lock.yml").unlink()
    assert f"would make: {place}/.slm-copilot/ca/ca-key.pem" in run(place, "restore", "--check")
    assert os.listdir(place) == ["hosts.json"]
    run(place, "restore")
    assert fingerprint(place) == before
    assert "changed=0" in run(place, "backup")

    other = ID.replace("6", "0")
    (place / ".slm-copilot" / "fleet-id").write_text(other)
    before = fingerprint(place)
    assert f"holds fleet {other}" in run(place, "restore", "-e", "confirmed=true", returns=2)
    assert fingerprint(place) == before
