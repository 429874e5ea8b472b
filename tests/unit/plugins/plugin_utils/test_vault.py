# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Encryption of archives, as ansible-vault does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._vault import decrypted, encrypted, read_password

PASSWORD = b"a password"


def test_what_was_encrypted_is_decrypted() -> None:
    archive = encrypted(b"a secret", PASSWORD)
    assert b"a secret" not in archive
    assert decrypted(archive, PASSWORD, "x") == b"a secret"


@pytest.mark.parametrize("damage", [lambda it: it[:-40], lambda it: it[:60] + b"00" + it[62:], lambda it: it[:30] + b"\nzz"])
def test_damaged_archive_is_refused(damage) -> None:
    with pytest.raises(CopilotError, match="the password is wrong, or the file is damaged"):
        decrypted(damage(encrypted(b"a secret", PASSWORD)), PASSWORD, "x")


def test_wrong_password_is_refused() -> None:
    with pytest.raises(CopilotError, match="the password is wrong"):
        decrypted(encrypted(b"a secret", PASSWORD), b"another", "x")


def test_other_file_is_refused() -> None:
    with pytest.raises(CopilotError, match="x is not an archive encrypted by ansible-vault"):
        decrypted(b"PK", PASSWORD, "x")


def test_password_comes_from_a_file_or_a_program(tmp_path: Path) -> None:
    source = tmp_path / "password"
    source.write_text("a password\n")
    assert read_password(str(source), repeat=True) == PASSWORD
    source.write_text("#!/bin/sh\necho a password\n")
    source.chmod(0o700)
    assert read_password(str(source), repeat=True) == PASSWORD


@pytest.mark.parametrize("content", ["", None])
def test_no_password_is_refused(tmp_path: Path, content: str | None) -> None:
    source = tmp_path / "password"
    if content is not None:
        source.write_text(content)
    with pytest.raises(CopilotError, match="no password can be read from"):
        read_password(str(source), repeat=False)
