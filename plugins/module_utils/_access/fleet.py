# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's folder on the controller, and the hosts that belong to it.

The folder contains the fleet's state, such as its CA. The fleet ID is stored in it and on each host, so that a run with the wrong
folder is detected before it replaces the CA and the keys of a host.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import replaced

FOLDER = ".slm-copilot"
ID_FILE = "fleet-id"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

USE_ITS_FOLDER = (
    "Use the folder of its fleet: copy it from the controller that set the host up, or from a backup, and name it with "
    "copilot_fleet_dir if it does not lie beside the inventory. To take the host into this fleet for good, with a new "
    "certificate that its clients do not trust yet, add -e copilot_fleet_adopt=true. Nothing was changed."
)


def folder_beside(sources: Sequence[str]) -> str:
    """Returns the folder of the fleet of an inventory.

    :param sources: what the inventory is made of (``-i``): files, directories, scripts, and lists of hosts, which have commas.

    Of several places the one that has such a folder is taken, else the first. Raises CopilotError when two have one, or when
    there is no place at all.
    """
    places = list(
        dict.fromkeys(
            os.path.abspath(source if os.path.isdir(source) else os.path.dirname(source))
            for source in sources
            if "," not in source
        )
    )
    if not places:
        raise CopilotError(
            "the inventory is a list of hosts, beside which nothing can be kept: set copilot_fleet_dir to the folder on this "
            "machine that holds, or shall hold, the fleet's CA and keys"
        )
    folders = [os.path.join(place, FOLDER) for place in places]
    present = [folder for folder in folders if os.path.isdir(folder)]
    if len(present) > 1:
        raise CopilotError(
            f"the inventory comes from several places, of which more than one holds a fleet ({', '.join(present)}): set "
            "copilot_fleet_dir to the one that is meant"
        )
    return (present or folders)[0]


def host_problem(
    host: str, folder: str, *, folder_id: str, host_id: str, host_ca: str = "", known_cas: Iterable[str] = ()
) -> str:
    """Returns why a host cannot be set up from this folder; empty if it can.

    :param folder_id: the id in the folder, empty where no fleet was founded yet.
    :param host_id: the id on the host, empty where it has none.
    :param host_ca: the CA certificate on a host without an id, in PEM form, empty where it has none: such a host was set
        up before there were ids.
    :param known_cas: the CA certificates that the folder or the settings have, in PEM form.
    """
    if host_id and host_id != folder_id:
        held = f"holds fleet {folder_id}" if folder_id else "holds no fleet yet"
        return f"{host} belongs to fleet {host_id}, and {folder} {held}. {USE_ITS_FOLDER}"
    if not host_id and host_ca.strip() and host_ca.strip() not in [ca.strip() for ca in known_cas]:
        return f"{host} was set up with a CA that {folder} does not hold. {USE_ITS_FOLDER}"
    return ""


def read_id(folder: str) -> str:
    """Returns the id of the fleet in the folder, empty where there is none. Raises CopilotError for anything else in its file."""
    path = Path(folder, ID_FILE)
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CopilotError(f"{path} cannot be read: {error.strerror}") from error
    if not ID.fullmatch(text):
        raise CopilotError(f"{path} holds no fleet id: bring the file back from a backup, or from {ID_FILE} of another copy")
    return text


def found(folder: str) -> tuple[str, bool]:
    """Creates the folder and its fleet ID if they do not exist. Git ignores the content.

    Of several runs at once, one founds the fleet and the others get its id. Returns the id, and whether anything was made.
    Raises CopilotError when the folder cannot be written to.
    """
    try:
        made = not os.path.isdir(folder)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name, content in ((".gitignore", "*\n"), (ID_FILE, f"{uuid.uuid4()}\n")):
            made = _create(folder, name, content) or made
    except OSError as error:
        raise CopilotError(
            f"{folder}, which is to hold the fleet's CA and keys, cannot be written to ({error.strerror}): set copilot_fleet_dir "
            "to a folder on this machine that can"
        ) from error
    return read_id(folder), made


def _create(folder: str, name: str, content: str) -> bool:
    """Creates the file with its content atomically, unless it exists."""
    target = os.path.join(folder, name)
    if os.path.lexists(target):
        return False
    try:
        with replaced(target, 0o600, exclusive=True) as file:
            file.write(content.encode())
    except FileExistsError:  # another run was quicker
        return False
    return True
