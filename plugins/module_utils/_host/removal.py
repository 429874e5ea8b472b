# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides what to remove from a host: exactly what was installed, and nothing else."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import Present
from ansible_collections.slm.copilot.plugins.module_utils._host.installed import Record, digest

PURGES = ("none", "models", "keys", "all")
# Below the folder for programs: whole trees that only our roles write to.
PROGRAMS = ("llama.cpp", "litellm", "router", "router-venv", "model-fetch")
# What monitors recorded, beside the folder for models; and in it what developers used.
RECORDED = {
    "-prometheus": "what the monitor recorded",
    "-alertmanager": "what the monitor recorded",
    "/usage": "what developers used",
    "/usage-balancer": "what developers used",
}
# In the folder for configuration: what is kept by default, and what is written by other means than the module files.
KEYS = ("*.pem", "*.pem.key", "api-keys", "facts.d/fleet.fact", "acme.ini", "acme.json")
GENERATED = (
    *(f"engine/{name}" for name in ("good.json", "previous.json", "armed.json", "refused.json", "lock")),
    "keys.map",
    "client-key.map",
    "tuning.json",
    "speed.json",
    "models.ini",
    "firewall.nft",
)
UNIT_FOLDER = "/etc/systemd/system"
JOURNAL = "/etc/systemd/journald.conf.d/slm-copilot.conf"
DROP_INS = (
    f"{UNIT_FOLDER}/nftables.service.d/slm-copilot.conf",
    f"{UNIT_FOLDER}/certbot.service.d/slm-copilot.conf",
)
UNITS = ("slm-copilot*.socket", "slm-copilot*.timer", "slm-copilot*.service")
# Its process ends only with its last answer, and by the callers of its socket one sees when.
OUTLIVED, OUTLIVED_SOCKET = "slm-copilot-proxy.service", "/run/slm-copilot-proxy/proxy.sock"
ACCOUNTS = (
    "slm-copilot-exporter",
    "slm-copilot-monitor",
    "slm-copilot-router",
    "slm-copilot-proxy",
    "slm-copilot-gateway",
    "slm-copilot-build",
    "slm-copilot",
)
GROUPS = ("slm-copilot-engine",)
# What a download has beside its file; the longest first.
DOWNLOAD_ENDINGS = (".partial.json", ".partial", ".json", ".lock")
# Those that the roles install; what came with them is found by apt.
PACKAGES = (
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-node-exporter",
    "haproxy",
    "keepalived",
    "nftables",
    "certbot",
    "python3-venv",
    "python3-cryptography",
    "python3-apt",
    "libgomp1",
    "libstdc++6",
)
# What was only suggested by another package is not kept for its sake.
SIMULATE = ("apt-get", "--simulate", "-o", "APT::AutoRemove::SuggestsImportant=false", "autoremove", "--purge")


@dataclass(frozen=True)
class Places:
    """The folders of programs, configuration, models and builds."""

    install: str
    config: str
    data: str
    work: str


@dataclass
class Plan:
    """What is removed, and what is kept with the reason. Folders are removed only if they are empty by then, deepest first."""

    files: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def plan(record: Record, places: Places, purge: str, look: Callable[[str], Present], units: Iterable[str]) -> Plan:
    """Returns which files of a host are removed and kept.

    :param purge: one of ``PURGES``: of models and keys, which otherwise stay, what goes as well.
    :param look: tells what is at a path.
    :param units: paths of the units that are there by our names.
    """
    made = Plan()
    keys_go, models_go = purge in ("keys", "all"), purge in ("models", "all")
    generated = [f"{places.config}/{name}" for name in GENERATED] + [f"{places.install}/acme.py", *DROP_INS]
    keys = [str(path) for pattern in KEYS for path in sorted(Path(places.config).glob(pattern))]
    trees = [f"{places.install}/{name}" for name in PROGRAMS] + [f"{places.work}/llama.cpp"]
    made.trees = [path for path in trees if look(path).kind == "directory"]
    for path in dict.fromkeys([*record.paths, *generated, *units, *keys]):
        present = look(path)
        if present.kind == "absent" or path.startswith(tuple(f"{tree}/" for tree in trees)) or path in trees:
            continue
        if present.kind == "directory":
            made.folders.append(path)
        elif is_key(path, places) and not keys_go:
            made.kept[path] = "a key or certificate, which goes with -e purge=keys"
        elif path in record.paths and record.paths[path] != digest(present) and not is_key(path, places):
            made.kept[path] = "somebody changed it since"
        else:
            made.files.append(path)
    for path, what in ((f"{places.data}{name}", what) for name, what in RECORDED.items()):
        if look(path).kind != "directory":
            continue
        if purge == "all":
            made.trees.append(path)
        elif list(Path(path).iterdir()):
            made.kept[path] = f"{what}, which goes with -e purge=all"
        else:
            made.folders.append(path)
    models = f"{places.data}/models"
    if models_go:
        made.files += fetched(models)
        made.kept |= {
            str(path): "it was not fetched by us" for path in sorted(Path(models).glob("*")) if str(path) not in made.files
        }
    elif look(models).kind == "directory":
        made.kept[models] = "the models, which go with -e purge=models"
    ours = [models] * models_go + [
        places.install,
        places.config,
        places.data,
        places.work,
        *(os.path.dirname(path) for path in DROP_INS),
    ]
    made.folders = sorted({*made.folders, *(path for path in ours if look(path).kind == "directory")}, key=len, reverse=True)
    return made


def fetched(models: str) -> list[str]:
    """Returns the model files that were fetched, which have a record beside them, and what else was written for these.

    Of a file that was refused, only the lock of its download is there.
    """
    records = [path for path in sorted(Path(models).glob("*.json")) if not path.name.endswith(".partial.json")]
    begun = [path.with_suffix("") for path in sorted(Path(models).glob("*.partial.json"))]
    files = [path.with_suffix("") for path in records] + [path.with_suffix("") for path in begun]
    wanted = dict.fromkeys(f"{file}{ending}" for file in files for ending in ("", *DOWNLOAD_ENDINGS))
    refused = [str(path) for path in sorted(Path(models).glob("*.lock")) if not os.path.lexists(path.with_suffix(""))]
    return [path for path in wanted if os.path.lexists(path)] + [path for path in refused if path not in wanted]


def unused(models: str, used: Iterable[str]) -> list[str]:
    """Returns what ``fetched`` returns, but for the files of models that are used, and what belongs to them.

    :param used: the paths of these models.
    """
    kept = tuple(used)
    return [path for path in fetched(models) if not any(path == one or path.startswith(f"{one}.") for one in kept)]


def stop_order(units: Iterable[str]) -> list[str]:
    """Returns units in the order in which they stop.

    Sockets come first, or callers would start their services again; then those that wait for answers that have begun; then what
    these answers need.
    """
    waiting = {OUTLIVED: 1, "slm-copilot-router.service": 2}
    return sorted(units, key=lambda name: waiting.get(name, 3 if name.endswith(".service") else 0))


def is_key(path: str, places: Places) -> bool:
    name = os.path.relpath(path, places.config)
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in KEYS) and "/" not in name.removeprefix("facts.d/")


def removable(wanted: Sequence[str], simulated: str, before: Sequence[str]) -> list[str]:
    """Returns which packages are removed: those that apt would remove with ours, except those that existed before.

    :param wanted: ours, of those that are installed.
    :param simulated: what ``apt-get --simulate autoremove --purge`` says of them.
    :param before: those that were there before.
    """
    said = re.findall(r"^(?:Purg|Remv) (\S+)", simulated, re.MULTILINE)
    gone = {name.split(":")[0] for name in said}
    return sorted(gone - set(before)) if wanted else []


def marks(before: Iterable[str], now: Iterable[str], there: Iterable[str]) -> list[str]:
    """Returns which packages must be marked again as automatically installed.

    :param before: those that were marked so.
    :param now: those that are.
    :param there: those that stay installed.
    """
    return sorted(set(before) & set(there) - set(now))


def accounts(there: Iterable[str], before: Iterable[str], owners: Iterable[str]) -> list[str]:
    """Returns which of the collection's accounts or groups are removed.

    :param there: those of the host.
    :param before: those that were there before.
    :param owners: those that something belongs to that stays: who got their number would get that, too.
    """
    gone = set(there) - set(before) - set(owners)
    return [name for name in (*ACCOUNTS, *GROUPS) if name in gone]
