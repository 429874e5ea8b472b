# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenNebula's context of a virtual machine: the file context.sh, read as data and never executed.

The file has a line NAME='value' for each variable, in which only the quote is escaped, as '\\''. Values come from whoever may
instantiate a template, so that a shell must not see them: also the file one_env of the context package runs what is in $(…).
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

LABEL = "CONTEXT"  # of the CD-ROM
# Where the context package keeps what it has read, the newest stage first, and the folder that stands in for a CD-ROM
PACKAGE = ("run/one-context/context.sh.network", "run/one-context/context.sh.online", "run/one-context/context.sh.local")
FOLDER = "context"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST = 4 << 20  # bytes


def parse(text: str) -> dict[str, str]:
    """Returns the variables of a context.sh.

    :raises CopilotError: for what OpenNebula does not write. The text does not show a value.
    """
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise CopilotError(f"context.sh cannot be read: {error}. Look for a value that ends in a backslash.") from None
    found = {}
    for number, word in enumerate(words, 1):
        name, equals, value = word.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise CopilotError(f"context.sh: its assignment {number} is not of the form NAME='value'.")
        found[name] = value
    return found


@contextlib.contextmanager
def opened(root: Path) -> Iterator[Path | None]:
    """Gives the folder that holds context.sh and token.txt, or None where this machine has no context."""
    if (root / FOLDER / "context.sh").is_file():
        yield root / FOLDER
        return
    device = subprocess.run(["blkid", "-L", LABEL], capture_output=True, text=True, check=False).stdout.strip()
    if not device.startswith("/dev/") or device.startswith("/dev/loop"):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="slm-copilot-context.") as folder:
        subprocess.run(["mount", "-o", "ro,nosuid,nodev,noexec", device, folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=False)


def read(root: Path = Path("/")) -> tuple[dict[str, str], str]:
    """Returns the variables of this machine's context, and its token for OneGate. Both are empty without a context.

    :param root: of the file system, for tests.
    """
    for path in PACKAGE:
        if (root / path).is_file():
            token = root / "run/one-context/token.txt"
            return parse(_text(root / path)), _text(token).strip() if token.is_file() else ""
    with opened(root) as folder:
        if folder is None:
            return {}, ""
        token = folder / "token.txt"
        return parse(_text(folder / "context.sh")), _text(token).strip() if token.is_file() else ""


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise CopilotError(f"{path} has more than {_LARGEST >> 20} MiB, and is not an OpenNebula context.")
    return path.read_text(encoding="utf-8", errors="surrogateescape")
