# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Encrypts and decrypts like ansible-vault, with a password from a file or a prompt."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, get_file_vault_secret
from ansible.utils.display import Display
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

display = Display()


def read_password(path: str, repeat: bool) -> bytes:
    """Returns the password from a file, or the output if the file is a program; without a path, prompts for it.

    :param repeat: whether to ask twice.
    :raises CopilotError: when there is none.
    """
    try:
        if path:
            secret = get_file_vault_secret(path, loader=DataLoader())
            secret.load()
            return bytes(secret.bytes)
        password = _asked("Password of the archive: ")
        if repeat and password != _asked("Once more: "):
            raise CopilotError("the two passwords differ. Nothing was written.")
    except AnsibleError as error:
        source = f"backup_password_file: no password can be read from {path}" if path else "no password can be asked for here"
        raise CopilotError(f"{source} ({error.message}). Name a file that holds it: -e backup_password_file=FILE") from None
    if not password:
        raise CopilotError("an empty password protects nothing: give another, or a file with one (-e backup_password_file=FILE)")
    return password


def _asked(prompt: str) -> bytes:
    return bytes(display.prompt_until(prompt, private=True))


def _vault(password: bytes) -> VaultLib:
    return VaultLib([("default", VaultSecret(password))])


def encrypted(document: bytes, password: bytes) -> bytes:
    """Encrypts content in the format of ansible-vault."""
    return bytes(_vault(password).encrypt(document))


def decrypted(archive: bytes, password: bytes, path: str) -> bytes:
    """Decrypts content in the format of ansible-vault.

    :param path: of the archive, for what is said of it.
    :raises CopilotError: when the password is wrong, or the archive is damaged or none.
    """
    if not archive.startswith(b"$ANSIBLE_VAULT;"):
        raise CopilotError(f"{path} is not an archive encrypted by ansible-vault. Nothing was changed.")
    try:
        return bytes(_vault(password).decrypt(archive))
    except (AnsibleError, ValueError):
        raise CopilotError(
            f"{path} cannot be decrypted: the password is wrong, or the file is damaged. Nothing was changed."
        ) from None
