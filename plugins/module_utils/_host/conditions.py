# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Host settings that slow models down: reads and judges them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Where the kernel keeps what can be changed, below the root: the value that is wanted.
GOVERNORS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
NUMA_BALANCING = "proc/sys/kernel/numa_balancing"
WANTED_GOVERNOR, WANTED_HUGE_PAGES = "performance", "always"

MUCH_STEAL = 0.05  # of the time that processors were wanted
MUCH_SWAP = 0.1  # of the memory
PASSING = ("swap_used_share", "steal_share")  # what may be otherwise a moment later
CHANGED_ON_REQUEST = "copilot_tune_host: true changes that"


@dataclass(frozen=True)
class Conditions:
    """Of a host.

    :param governor: of the processors' clocks, the slowest where they differ; empty where the host has no say in them.
    :param huge_pages: when memory comes in pages of 2 MiB: always, madvise or never; empty where the kernel cannot.
    :param swap_mib: that there is.
    :param swap_used_share: of the host's memory, how much is in it.
    :param numa_nodes: with processors.
    :param numa_balancing: whether the kernel moves memory between them.
    :param steal_share: of the time since the start in which processors were wanted, how much another machine had.
    """

    governor: str = ""
    huge_pages: str = ""
    swap_mib: int = 0
    swap_used_share: float = 0.0
    numa_nodes: int = 1
    numa_balancing: bool = False
    steal_share: float = 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def chosen(text: str) -> str:
    """Returns the word in brackets, which marks the active one of several in a kernel file."""
    _before, _bracket, rest = text.partition("[")
    return rest.partition("]")[0] or text


def _processor_times(root: Path) -> tuple[int, int]:
    """Returns the demanded CPU time of all processors since boot, and how much of it others had (steal), both in ticks."""
    times = [int(one) for one in _text(root / "proc/stat").partition("\n")[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = times if len(times) == 8 else [0] * 8
    return user + nice + system + irq + softirq + steal, steal


def busy_seconds() -> float:
    """Returns the CPU time of all processors since boot, including steal, in ticks."""
    return _processor_times(Path("/"))[0] / os.sysconf("SC_CLK_TCK")


def read_conditions(root: Path = Path("/")) -> Conditions:
    """Returns the conditions of this host.

    :param root: where proc and sys are.
    """
    governors = {_text(path) for path in root.glob(GOVERNORS)} - {""}
    meminfo = {line.split(":")[0]: int(line.split()[1]) for line in _text(root / "proc/meminfo").splitlines() if ":" in line}
    total, swap = meminfo.get("MemTotal", 0), meminfo.get("SwapTotal", 0)
    wanted, steal = _processor_times(root)
    nodes = [path for path in root.glob("sys/devices/system/node/node[0-9]*") if _text(path / "cpulist")]
    return Conditions(
        governor=min(governors, key=lambda one: one == WANTED_GOVERNOR, default=""),
        huge_pages=chosen(_text(root / HUGE_PAGES)),
        swap_mib=swap // 1024,
        swap_used_share=round((swap - meminfo.get("SwapFree", 0)) / total, 3) if total else 0.0,
        numa_nodes=max(1, len(nodes)),
        numa_balancing=_text(root / NUMA_BALANCING) not in ("", "0"),
        steal_share=round(steal / wanted, 3) if wanted else 0.0,
    )


def lasting_advice(conditions: Conditions) -> list[str]:
    """Returns a sentence for each host setting that slows models down."""
    found = []
    if conditions.governor not in ("", WANTED_GOVERNOR):
        found.append(
            f"The CPU frequency governor is {conditions.governor}: frequencies rise late, which slows down each token. "
            f"{WANTED_GOVERNOR} keeps them high; {CHANGED_ON_REQUEST}."
        )
    if conditions.huge_pages not in ("", WANTED_HUGE_PAGES):
        found.append(
            f"Transparent huge pages are set to {conditions.huge_pages}: weights and KV caches use pages of 4 KiB, of which "
            f"the TLB holds few. {WANTED_HUGE_PAGES} makes them 2 MiB; {CHANGED_ON_REQUEST}."
        )
    if conditions.numa_nodes > 1 and conditions.numa_balancing:
        found.append(
            f"Automatic NUMA balancing moves memory between {conditions.numa_nodes} nodes while the model reads it. 0 in "
            f"kernel.numa_balancing turns it off; {CHANGED_ON_REQUEST}."
        )
    return found


def passing_advice(conditions: Conditions) -> list[str]:
    """Returns a sentence for each current condition that slows models down, such as steal or swapping."""
    found = []
    if conditions.steal_share > MUCH_STEAL:
        found.append(
            f"The hypervisor gave {conditions.steal_share:.0%} of the CPU time that this machine demanded to others (steal): "
            "give it dedicated CPUs, or fewer."
        )
    if conditions.swap_used_share > MUCH_SWAP:
        found.append(
            f"Swap holds as much as {conditions.swap_used_share:.0%} of the memory. Models are never swapped out, so "
            "other services slow down: give the host more memory, or its models less."
        )
    return found
