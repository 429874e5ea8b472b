# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of a server's router: one JSON file, which holds no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .names import Mode

TEXTS = ("engine_socket", "marks_key_file", "engine_cgroup", "engine_link", "usage_folder", "usage_key_file")
SWITCHES = ("histories",)
MODES = {"access_log": Mode.NAME, "usage": Mode.OFF}  # defaults


class SettingsError(Exception):
    """The file is invalid. The message says where."""


@dataclass(frozen=True)
class ServerSettings:
    """The settings of a server's router. Times are in seconds.

    :param engine_socket: path of llama-server's Unix socket.
    :param models: model -> how many requests it works on at a time; 0: as many as llama-server says.
    :param pinned: models that are kept loaded.
    :param marks_key_file: path of the key by which balancers recognise conversations; empty: there are none to be told.
    :param engine_cgroup: path of llama-server's control group; empty: no metrics of its memory.
    :param engine_link: path of a link to the folder of the engine; empty: no metric of its version.
    :param histories: whether histories are rewritten as the models' templates need.
    :param access_log: how developers are named in the access log.
    :param usage: how developers are named in the usage records.
    :param usage_folder: where that is kept.
    :param usage_key_file: path of the key of pseudonyms; empty: there is none.
    :param usage_kept: for how long it is kept.
    :param restart_wait: for how long a developer's request waits for an engine that is not ready.
    :param first_sign: after how long a stream that waits gets its headers and a comment.
    :param signs: after how long a silence a stream gets a comment.
    :param state_length: how long a stream of the state lasts.
    :param state_beat: how often it says the same again.
    :param longest_drain: the longest time for which nobody gets a slot.
    :param renew_pinned: after how long what keeps a pinned model gives way to another.
    """

    engine_socket: str
    models: Mapping[str, int]
    pinned: tuple[str, ...] = ()
    marks_key_file: str = ""
    engine_cgroup: str = ""
    engine_link: str = ""
    histories: bool = True
    access_log: Mode = Mode.NAME
    usage: Mode = Mode.OFF
    usage_folder: str = ""
    usage_key_file: str = ""
    usage_kept: float = 0.0
    restart_wait: float = 120.0
    first_sign: float = 8.0
    signs: float = 15.0
    state_length: float = 60.0
    state_beat: float = 4.0
    longest_drain: float = 3600.0
    renew_pinned: float = 1800.0

    @property
    def several(self) -> bool:
        """Whether llama-server runs in router mode."""
        return len(self.models) > 1


def parse(text: str) -> ServerSettings:
    """Reads the file's content. Raises SettingsError."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError("it must be an object")
    known = {one.name for one in fields(ServerSettings)}
    if unknown := sorted(content.keys() - known):
        raise SettingsError(f"it has the unknown {', '.join(unknown)}")
    if missing := [name for name in ("engine_socket", "models") if not content.get(name)]:
        raise SettingsError(f"{missing[0]} is missing")
    models = content["models"]
    if not isinstance(models, dict) or not all(map(_is_number, models.values())):
        raise SettingsError("models must map names to whole numbers of slots, 0 or more")
    pinned = tuple(content.get("pinned", ()))
    if strangers := sorted(set(pinned) - models.keys()):
        raise SettingsError(f"pinned has {', '.join(strangers)}, which models has not")
    switches = {name: content.get(name, True) for name in SWITCHES}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise SettingsError(f"{name} is {value!r}: give true or false")
    modes = {name: content.get(name, usual) for name, usual in MODES.items()}
    for name, value in modes.items():
        if value not in set(Mode):
            raise SettingsError(f"{name} is {value!r}: give {', '.join(Mode)}")
    others: dict[str, Any] = {name: str(content.get(name, "")) for name in TEXTS} | switches | _times(content)
    others |= {name: Mode(value) for name, value in modes.items()}
    return ServerSettings(models=models, pinned=pinned, **others)


def _times(content: Mapping[str, Any]) -> dict[str, float]:
    times = {name: value for name, value in content.items() if name not in ("models", "pinned", *MODES, *TEXTS, *SWITCHES)}
    for name, value in times.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise SettingsError(f"{name} is {value!r}: give seconds, 0 or more")
    return times


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
