# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's CPU can do, and which of llama.cpp's CPU variants it will run.

Plain text and numbers in (``/proc/cpuinfo``, ``lscpu -J``, a few values from sysfs), plain data out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any, TypedDict

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


class Sysfs(TypedDict, total=False):
    """What sysfs says; every entry may be missing, as in containers and small VMs."""

    numa_nodes: dict[int, str]  # node -> cpulist, such as "0-15,32-47"
    thread_siblings: dict[int, str]  # logical cpu -> cpulist of its core
    hypervisor_type: str  # /sys/hypervisor/type
    dmi: str  # vendor and product name of the machine


_FEATURES = {
    "x86_64": (
        *("sse4_2", "avx", "avx2", "avx_vnni", "fma", "f16c", "bmi2"),
        *("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"),
        *("avx512_vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
    ),
    "aarch64": ("dotprod", "fp16", "i8mm", "bf16", "sve", "sve2", "sme"),
}
# The kernel's flags for a feature where it does not use the same name.
_KERNEL_FLAGS = {"avx512_vbmi": ("avx512vbmi",), "dotprod": ("asimddp",), "fp16": ("fphp", "asimdhp")}

# The psABI's levels by the kernel's flags ("pni" is SSE3, "abm" is LZCNT). The base, v1, is what makes an x86_64.
_LEVELS = {
    "x86-64-v2": ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"),
    "x86-64-v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}

# llama.cpp's CPU variants and what each asks of the CPU (ggml/src/CMakeLists.txt and cpu-feats.cpp).
# AMX_TILE is missing on purpose: sapphirerapids is compiled for it, but llama.cpp does not ask the CPU for it.
_HASWELL = ("sse4_2", "avx", "f16c", "fma", "avx2", "bmi2")
_SKYLAKEX = (*_HASWELL, "avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw")
_ZEN4 = (*_SKYLAKEX, "avx512_vbmi", "avx512_vnni", "avx512_bf16")
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "x64": (),
        "sse42": ("sse4_2",),
        "sandybridge": ("sse4_2", "avx"),
        "ivybridge": ("sse4_2", "avx", "f16c"),
        "piledriver": ("sse4_2", "avx", "f16c", "fma"),
        "haswell": _HASWELL,
        "skylakex": _SKYLAKEX,
        "cannonlake": (*_SKYLAKEX, "avx512_vbmi"),
        "cascadelake": (*_SKYLAKEX, "avx512_vnni"),
        "icelake": (*_SKYLAKEX, "avx512_vbmi", "avx512_vnni"),
        "cooperlake": (*_SKYLAKEX, "avx512_vnni", "avx512_bf16"),
        "zen4": _ZEN4,
        "alderlake": (*_HASWELL, "avx_vnni"),
        "sapphirerapids": (*_ZEN4, "amx_int8"),
    },
    "aarch64": {
        "armv8.0_1": (),
        "armv8.2_1": ("dotprod",),
        "armv8.2_2": ("dotprod", "fp16"),
        "armv8.2_3": ("dotprod", "fp16", "sve"),
        "armv8.6_1": ("dotprod", "fp16", "sve", "i8mm"),
        "armv8.6_2": ("dotprod", "fp16", "sve", "i8mm", "sve2"),
        "armv9.2_1": ("dotprod", "fp16", "sve", "i8mm", "sme"),
        "armv9.2_2": ("dotprod", "fp16", "sve", "i8mm", "sve2", "sme"),
    },
}

# The bit that a feature adds to a variant's score. AVX-512 counts once, so four of its five parts have none.
_SCORE_BITS = {
    "x86_64": {
        "fma": 0,
        "f16c": 1,
        "sse4_2": 2,
        "bmi2": 3,
        "avx": 4,
        "avx2": 5,
        "avx_vnni": 6,
        "avx512f": 7,
        "avx512_vbmi": 8,
        "avx512_bf16": 9,
        "avx512_vnni": 10,
        "amx_int8": 11,
    },
    "aarch64": {"dotprod": 1, "fp16": 2, "sve": 3, "i8mm": 4, "sve2": 5, "sme": 6},
}

# Without these llama.cpp's quantised kernels fall back to scalar code.
_FAST_FEATURES = {"x86_64": ("avx2", "fma", "f16c", "bmi2"), "aarch64": ("dotprod",)}
_CPUS_THAT_HAVE_THEM = {
    "x86_64": "Intel since Haswell, AMD since Zen",
    "aarch64": "Arm since Neoverse N1 or Cortex-A76",
}

# Words in the machine's DMI vendor and product -> hypervisor, for guests where lscpu does not know it.
_DMI_HYPERVISORS = {
    "KVM": "kvm",
    "OpenNebula": "kvm",
    "OpenStack": "kvm",
    "Google Compute Engine": "kvm",
    "VMware": "vmware",
    "VirtualBox": "oracle",
    "Microsoft Corporation Virtual Machine": "microsoft",
    "Xen": "xen",
    "QEMU": "qemu",
}


def cpu_info(
    cpuinfo: str,
    machine: str,
    lscpu_json: str = "",
    sysfs: Sysfs | None = None,
    affinity: Collection[int] | None = None,
    quota: int | None = None,
) -> dict[str, Any]:
    """Describe the CPU of a host.

    ``cpuinfo`` is the text of /proc/cpuinfo, ``machine`` what ``uname -m`` says, ``lscpu_json`` the output of
    ``lscpu -J`` or nothing, ``affinity`` the logical CPUs that the scheduler allows (None: all), ``quota`` of how many CPUs all
    processes may use the time (None: of all).
    """
    if machine not in VARIANTS:
        raise CopilotError(
            f"This host's machine type is {machine!r}, and the llama.cpp engine here is built for "
            f"{' and '.join(VARIANTS)} only: use a host of one of these."
        )
    processors = _parse_cpuinfo(cpuinfo)
    flags = _flags(processors, machine)
    lscpu = _parse_lscpu(lscpu_json)
    sysfs = sysfs or {}

    features = {
        name: architecture == machine and flags.issuperset(_KERNEL_FLAGS.get(name, (name,)))
        for architecture, names in _FEATURES.items()
        for name in names
    }
    feature_list = sorted(name for name, there in features.items() if there)
    model_name = _model_name(processors[0], lscpu)
    hypervisor = _hypervisor(flags, lscpu, sysfs)
    missing = [name for name in _FAST_FEATURES[machine] if not features[name]]

    logical = sorted(int(processor["processor"]) for processor in processors)
    cores = _cores(processors, logical, lscpu, sysfs)
    usable = set(logical if affinity is None else affinity)
    # A container may number its CPUs from 0 in /proc and yet be scheduled on others: then only the counts compare.
    usable_cores = sum(1 for core in cores if core & usable) or min(len(cores), len(usable))
    numa_nodes = _numa_nodes(logical, lscpu, sysfs)
    return {
        "architecture": machine,
        "vendor": processors[0].get("vendor_id") or lscpu.get("Vendor ID") or "unknown",
        "model_name": model_name,
        "features": features,
        "feature_list": feature_list,
        "level": _level(flags) if machine == "x86_64" else None,
        "llama_cpp_variant": predict_variant(machine, feature_list),
        "logical_cpus": len(logical),
        "physical_cores": len(cores),
        "threads_per_core": max(len(core) for core in cores),
        "usable_cpus": min(len(usable), quota or len(usable)),
        "usable_cores": min(usable_cores, quota or usable_cores),
        "numa": {"count": len(numa_nodes), "nodes": numa_nodes},
        "hypervisor": hypervisor,
        "fast": not missing,
        "slow_reason": _slow_reason(missing, machine, model_name, hypervisor),
    }


def cpu_quota(cpu_max: str) -> int | None:
    """Returns of how many CPUs a control group may use the time, at least 1; None where there is no limit.

    :param cpu_max: the text of its ``cpu.max``: microseconds in each period, or ``max``, and those of the period.
    """
    limit, _space, period = cpu_max.partition(" ")
    if not (limit.isdecimal() and period.isdecimal() and int(period)):
        return None
    return max(1, int(limit) // int(period))


def predict_variant(machine: str, features: Collection[str]) -> str:
    """The llama.cpp CPU variant with the highest score among those whose features are all there.

    llama.cpp asks the CPU alone. Where the kernel hides what the CPU has (AMX before Linux 5.16) it may pick a
    higher variant than this; ``parse_loaded_variant`` tells what it did.
    """
    possible = [variant for variant, wanted in VARIANTS[machine].items() if set(wanted) <= set(features)]
    return max(possible, key=lambda variant: variant_score(machine, variant))


def variant_score(machine: str, variant: str) -> int:
    bits = _SCORE_BITS[machine]
    return 1 + sum(1 << bits[feature] for feature in VARIANTS[machine][variant] if feature in bits)


def parse_loaded_variant(log_text: str) -> str | None:
    """The CPU variant that llama.cpp says it loaded; the last one, when a log holds several starts.

    ``llama-bench --list-devices`` always says it, llama-server only from ``--verbosity 4`` on.
    """
    loaded: list[str] = re.findall(r"loaded CPU backend from .*libggml-cpu-(.+?)\.so\b", log_text)
    return loaded[-1] if loaded else None


def parse_cpulist(cpulist: str) -> list[int]:
    """The numbers in a kernel CPU list: ``0-2,8`` gives 0, 1, 2 and 8."""
    cpus: list[int] = []
    for part in filter(None, cpulist.strip().split(",")):
        first, _dash, last = part.partition("-")
        try:
            cpus.extend(range(int(first), int(last or first) + 1))
        except ValueError as error:
            raise CopilotError(
                f"The kernel's CPU list {cpulist.strip()!r} is not of the form '0-3,8': "
                "look at /sys/devices/system/cpu and /sys/devices/system/node on the host."
            ) from error
    return cpus


def _parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """One dict for each processor; a block that names no processor (Hardware, on some Arm) is not one."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        fields = (line.partition(":") for line in block.splitlines() if ":" in line)
        blocks.append({key.strip(): value.strip() for key, _colon, value in fields})
    processors = [block for block in blocks if block.get("processor", "").isdigit()]
    if not processors:
        raise CopilotError(
            f"/proc/cpuinfo lists no processor (its {len(text)} characters hold no 'processor' line), "
            "so the CPU's features are not known: check whether /proc is mounted on the host."
        )
    return processors


def _flags(processors: Iterable[dict[str, str]], machine: str) -> set[str]:
    """The flags that every processor has: a thread may run on any of them."""
    key = "flags" if machine == "x86_64" else "Features"
    flags = [set(processor.get(key, "").split()) for processor in processors]
    if not all(flags):
        raise CopilotError(
            f"/proc/cpuinfo has a processor without a '{key}' line, which {machine} Linux always writes, "
            "so the CPU's features are not known: check whether the host's /proc is the kernel's own."
        )
    return set.intersection(*flags)


def _parse_lscpu(text: str) -> dict[str, str]:
    """The fields of ``lscpu -J``, flat. lscpu only fills gaps here, so an answer nobody can read counts as none."""
    fields: dict[str, str] = {}

    def walk(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            fields[entry["field"].rstrip(":")] = entry["data"] or ""
            walk(entry.get("children", []))  # newer versions nest

    try:
        walk(json.loads(text)["lscpu"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {key: value for key, value in fields.items() if value not in ("", "-")}


def _model_name(processor: dict[str, str], lscpu: dict[str, str]) -> str:
    """Arm's cpuinfo has only numbers; lscpu knows the names behind them."""
    if "model name" in processor:
        return processor["model name"]
    numbers = f"implementer {processor.get('CPU implementer', '?')} part {processor.get('CPU part', '?')}"
    return lscpu.get("Model name", numbers)


def _level(flags: set[str]) -> str:
    level = "x86-64-v1"
    for name, wanted in _LEVELS.items():
        if not flags.issuperset(wanted):
            break
        level = name
    return level


def _hypervisor(flags: set[str], lscpu: dict[str, str], sysfs: Sysfs) -> str | None:
    known = lscpu.get("Hypervisor vendor") or sysfs.get("hypervisor_type")
    if known:
        return known.lower()
    dmi = sysfs.get("dmi", "")
    for word, name in _DMI_HYPERVISORS.items():
        if word in dmi:
            return name
    return "unknown" if "hypervisor" in flags else None


def _cores(processors: list[dict[str, str]], logical: list[int], lscpu: dict[str, str], sysfs: Sysfs) -> list[frozenset[int]]:
    """The logical CPUs of each physical core, from the best source there is."""
    siblings = sysfs.get("thread_siblings", {})
    if siblings.keys() >= set(logical):
        return list({frozenset(parse_cpulist(siblings[cpu])) & frozenset(logical) for cpu in logical})

    if all("physical id" in processor and "core id" in processor for processor in processors):
        cores: dict[tuple[str, str], set[int]] = {}
        for processor in processors:
            core = (processor["physical id"], processor["core id"])
            cores.setdefault(core, set()).add(int(processor["processor"]))
        return [frozenset(core) for core in cores.values()]

    # Neither source tells which threads share a core; assuming neighbours gives the right count.
    threads = max(1, int(lscpu.get("Thread(s) per core", "1")))
    return [frozenset(logical[start : start + threads]) for start in range(0, len(logical), threads)]


def _numa_nodes(logical: list[int], lscpu: dict[str, str], sysfs: Sysfs) -> list[dict[str, Any]]:
    """The nodes that have CPUs; one node with all of them where the kernel knows none."""
    lists = dict(sysfs.get("numa_nodes", {}))
    if not lists:
        for field, value in lscpu.items():
            found = re.fullmatch(r"NUMA node(\d+) CPU\(s\)", field)
            if found:
                lists[int(found[1])] = value
    nodes = [{"node": node, "cpus": parse_cpulist(cpulist)} for node, cpulist in sorted(lists.items())]
    return [node for node in nodes if node["cpus"]] or [{"node": 0, "cpus": logical}]


def _slow_reason(missing: list[str], machine: str, model_name: str, hypervisor: str | None) -> str | None:
    if not missing:
        return None
    names = " and ".join(", ".join(name.upper() for name in missing).rsplit(", ", 1))
    effect = f"lacks {names}: llama.cpp would crawl or hang on it."
    if hypervisor:
        return (
            f"The CPU of this virtual machine {effect} Set the VM's CPU model to host-passthrough "
            f"(currently {model_name!r}) and start the VM again, on a host that has these features."
        )
    return f"The CPU of this host, {model_name!r}, {effect} Use a host that has them ({_CPUS_THAT_HAVE_THEM[machine]})."
