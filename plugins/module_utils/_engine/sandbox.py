# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a program of the engine as llama-server's unit does: as an account that nobody trusts, without a network or a socket."""

from __future__ import annotations

import pwd

# Where a host keeps its sockets. The unit hides the same: TemporaryFileSystem and PrivateTmp.
HIDDEN = ("/run", "/tmp", "/var/tmp")
HIDE = f'for folder in {" ".join(HIDDEN)}; do mount -n -t tmpfs -o nosuid,nodev,mode=0755 tmpfs "$folder"; done; exec "$@"'


def sandboxed(user: str, command: list[str]) -> list[str]:
    """Returns the command, for root, that runs another one in a sandbox. It dies with the process that starts it.

    Where the kernel refuses the sandbox, nothing runs.

    :param command: the whole path of a program that is in none of the folders in ``HIDDEN``, and its arguments.
    :raises KeyError: when there is no such account.
    """
    account = pwd.getpwnam(user)
    return [
        *("unshare", "--net", "--mount", "--ipc", "sh", "-ec", HIDE, "sandbox"),
        *("setpriv", "--pdeathsig", "KILL", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
        # setpriv itself still has root's rights while it looks for the program.
        *("--no-new-privs", "env", *command),
    ]
