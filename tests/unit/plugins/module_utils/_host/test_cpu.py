# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What _cpu.py says of real kinds of CPU. The fixtures are /proc/cpuinfo with a few of each machine's processors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.cpu import (
    VARIANTS,
    Sysfs,
    cpu_info,
    cpu_quota,
    parse_cpulist,
    parse_loaded_variant,
    predict_variant,
    variant_score,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "cpu"


def fixture(name: str) -> str:
    return (FIXTURES / f"{name}.cpuinfo").read_text(encoding="utf-8")


def look_at(name: str, machine: str = "x86_64", **said: Any) -> dict[str, Any]:
    lscpu = FIXTURES / f"{name}.lscpu.json"
    if lscpu.exists():
        said.setdefault("lscpu_json", lscpu.read_text(encoding="utf-8"))
    return cpu_info(fixture(name), machine, **said)


X86_COLUMNS = (
    *("level", "llama_cpp_variant", "fast", "hypervisor"),
    *("logical_cpus", "physical_cores", "threads_per_core"),
)
X86_CPUS: dict[str, tuple[Any, ...]] = {
    "haswell": ("x86-64-v3", "haswell", True, None, 4, 2, 2),
    "skylake-x": ("x86-64-v4", "skylakex", True, None, 2, 2, 1),
    "cascade-lake": ("x86-64-v4", "cascadelake", True, None, 2, 2, 1),
    "ice-lake-kvm": ("x86-64-v4", "icelake", True, "unknown", 4, 2, 2),
    "sapphire-rapids-kvm": ("x86-64-v4", "zen4", True, "kvm", 2, 2, 1),
    "sapphire-rapids-amx": ("x86-64-v4", "sapphirerapids", True, "unknown", 2, 1, 2),
    "alder-lake": ("x86-64-v3", "alderlake", True, None, 3, 2, 2),
    "zen2": ("x86-64-v3", "haswell", True, None, 4, 2, 2),
    "zen3": ("x86-64-v3", "haswell", True, None, 2, 1, 2),
    "zen4-kvm": ("x86-64-v4", "zen4", True, "unknown", 2, 2, 1),
    "zen5": ("x86-64-v4", "zen4", True, None, 2, 1, 2),
    "ivy-bridge-kvm": ("x86-64-v2", "ivybridge", False, "unknown", 2, 2, 1),
    "qemu64": ("x86-64-v1", "x64", False, "unknown", 2, 2, 1),
    "kvm64": ("x86-64-v1", "x64", False, "unknown", 2, 2, 1),
    "qemu-max": ("x86-64-v3", "haswell", True, "unknown", 2, 2, 1),
}


@pytest.mark.parametrize(("name", "expected"), X86_CPUS.items(), ids=X86_CPUS)
def test_x86(name, expected):
    cpu = look_at(name)
    assert tuple(cpu[column] for column in X86_COLUMNS) == expected
    assert cpu["architecture"] == "x86_64"
    assert (cpu["slow_reason"] is None) is cpu["fast"]


ARM_CPUS = [
    ("ampere-altra", "Neoverse-N1", "armv8.2_2", True, ["dotprod", "fp16"]),
    ("ampere-one", "implementer 0xc0 part 0xac4", "armv8.2_2", True, ["bf16", "dotprod", "fp16", "i8mm"]),
    ("graviton3", "Neoverse-V1", "armv8.6_1", True, ["bf16", "dotprod", "fp16", "i8mm", "sve"]),
    ("grace", "Neoverse-V2", "armv8.6_2", True, ["bf16", "dotprod", "fp16", "i8mm", "sve", "sve2"]),
    ("cortex-a72", "Cortex-A72", "armv8.0_1", False, []),
]


@pytest.mark.parametrize(("name", "model_name", "variant", "fast", "features"), ARM_CPUS, ids=[cpu[0] for cpu in ARM_CPUS])
def test_arm64(name, model_name, variant, fast, features):
    cpu = look_at(name, "aarch64")
    assert cpu["architecture"] == "aarch64"
    assert cpu["model_name"] == model_name
    assert cpu["level"] is None
    assert cpu["llama_cpp_variant"] == variant
    assert cpu["fast"] is fast
    assert cpu["feature_list"] == features


def test_names_and_features_of_one_cpu():
    cpu = look_at("sapphire-rapids-amx")
    assert cpu["vendor"] == "GenuineIntel"
    assert cpu["model_name"] == "Intel(R) Xeon(R) Platinum 8488C"
    assert cpu["feature_list"] == sorted(name for name, there in cpu["features"].items() if there)
    assert {"amx_tile", "amx_int8", "amx_bf16", "avx_vnni", "avx512_vbmi", "avx512_fp16"} <= set(cpu["feature_list"])
    assert cpu["features"]["dotprod"] is False


def test_features_have_the_same_keys_everywhere():
    assert look_at("grace", "aarch64")["features"].keys() == look_at("zen5")["features"].keys()


def test_vendor_of_arm_comes_from_lscpu():
    assert look_at("graviton3", "aarch64")["vendor"] == "ARM"
    assert look_at("ampere-one", "aarch64")["vendor"] == "unknown"


VARIANT_CASES = [(machine, variant) for machine, variants in VARIANTS.items() for variant in variants]


@pytest.mark.parametrize(("machine", "variant"), VARIANT_CASES, ids=[case[1] for case in VARIANT_CASES])
def test_a_cpu_with_just_what_a_variant_asks_gets_it(machine, variant):
    assert predict_variant(machine, VARIANTS[machine][variant]) == variant


def test_scores():
    """llama.cpp's own. No two are equal: it would break a tie by the order of files in a folder."""
    scores = {variant: variant_score(machine, variant) for machine, variant in VARIANT_CASES}
    assert scores == {
        **{"x64": 1, "sse42": 5, "sandybridge": 21, "ivybridge": 23, "piledriver": 24, "haswell": 64, "alderlake": 128},
        **{"skylakex": 192, "cannonlake": 448, "cascadelake": 1216, "icelake": 1472, "cooperlake": 1728},
        **{"zen4": 1984, "sapphirerapids": 4032},
        **{"armv8.0_1": 1, "armv8.2_1": 3, "armv8.2_2": 7, "armv8.2_3": 15, "armv8.6_1": 31, "armv8.6_2": 63},
        **{"armv9.2_1": 95, "armv9.2_2": 127},
    }


def test_avx512_counts_only_when_complete():
    features = set(VARIANTS["x86_64"]["skylakex"]) - {"avx512vl"}
    assert predict_variant("x86_64", features) == "haswell"


def test_avx_vnni_loses_against_avx512():
    features = {*VARIANTS["x86_64"]["alderlake"], *VARIANTS["x86_64"]["skylakex"]}
    assert predict_variant("x86_64", features) == "skylakex"


def test_half_precision_on_arm64_needs_scalars_and_vectors():
    vectors_only = fixture("ampere-altra").replace(" fphp ", " ")
    assert cpu_info(vectors_only, "aarch64")["llama_cpp_variant"] == "armv8.2_1"


LEVELS = {
    "x86-64-v1": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v2": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v3": "avx512f avx512bw avx512cd avx512dq avx512vl",
}
LEVEL_CASES = [(flag, level) for level, flags in LEVELS.items() for flag in flags.split()]


@pytest.mark.parametrize(("flag", "level"), LEVEL_CASES, ids=[case[0] for case in LEVEL_CASES])
def test_one_missing_flag_lowers_the_level(flag, level):
    without = re.sub(rf"\b{flag}\b", "", fixture("zen5"))
    assert cpu_info(without, "x86_64")["level"] == level


def test_slow_vm_is_told_about_host_passthrough():
    assert look_at("qemu64")["slow_reason"] == (
        "The CPU of this virtual machine lacks AVX2, FMA, F16C and BMI2: llama.cpp would crawl or hang on it. "
        "Set the VM's CPU model to host-passthrough (currently 'QEMU Virtual CPU version 2.5+') and start the VM "
        "again, on a host that has these features."
    )


def test_what_one_processor_lacks_the_host_lacks():
    one_without = re.sub(r"\bfma\b", "", fixture("zen5"), count=1)
    cpu = cpu_info(one_without, "x86_64")
    assert (cpu["fast"], "lacks FMA: " in cpu["slow_reason"], cpu["features"]["avx2"]) == (False, True, True)


def test_slow_vm_with_avx_is_told_only_what_is_missing():
    assert "lacks AVX2, FMA and BMI2: " in look_at("ivy-bridge-kvm")["slow_reason"]


def test_slow_bare_metal_is_told_to_change_the_machine():
    metal = fixture("ivy-bridge-kvm").replace(" hypervisor", "")
    assert cpu_info(metal, "x86_64")["slow_reason"] == (
        "The CPU of this host, 'Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)', lacks AVX2, FMA and BMI2: llama.cpp would "
        "crawl or hang on it. Use a host that has them (Intel since Haswell, AMD since Zen)."
    )
    assert look_at("cortex-a72", "aarch64")["slow_reason"] == (
        "The CPU of this host, 'Cortex-A72', lacks DOTPROD: llama.cpp would crawl or hang on it. "
        "Use a host that has them (Arm since Neoverse N1 or Cortex-A76)."
    )


HYPERVISORS: list[tuple[str, dict[str, Any], str | None]] = [
    ("lscpu", {"lscpu_json": '{"lscpu": [{"field": "Hypervisor vendor:", "data": "VMware"}]}'}, "vmware"),
    ("xen-sysfs", {"sysfs": {"hypervisor_type": "xen"}}, "xen"),
    ("qemu-dmi", {"sysfs": {"dmi": "QEMU Standard PC (i440FX + PIIX, 1996)"}}, "qemu"),
    ("kvm-dmi", {"sysfs": {"dmi": "Red Hat KVM"}}, "kvm"),
    ("hyper-v-dmi", {"sysfs": {"dmi": "Microsoft Corporation Virtual Machine"}}, "microsoft"),
    ("surface-is-no-vm", {"sysfs": {"dmi": "Microsoft Corporation Surface Pro"}}, None),
    ("server", {"sysfs": {"dmi": "Dell Inc. PowerEdge R630"}}, None),
]


@pytest.mark.parametrize(("said", "hypervisor"), [case[1:] for case in HYPERVISORS], ids=[case[0] for case in HYPERVISORS])
def test_hypervisor(said, hypervisor):
    assert look_at("haswell", **said)["hypervisor"] == hypervisor


def test_thread_siblings_win_over_core_ids():
    """The dies of one package can use the same core ids, so cpuinfo alone would count too few."""
    cpu = look_at("ice-lake-kvm", sysfs={"thread_siblings": {0: "0", 1: "1", 2: "2", 3: "3"}})
    assert (cpu["physical_cores"], cpu["threads_per_core"]) == (4, 1)


def test_thread_siblings_that_are_offline_do_not_count():
    cpu = look_at("zen3", sysfs={"thread_siblings": {0: "0,32", 16: "16,48"}})
    assert (cpu["physical_cores"], cpu["threads_per_core"]) == (2, 1)


def test_incomplete_thread_siblings_are_left_aside():
    cpu = look_at("ice-lake-kvm", sysfs={"thread_siblings": {0: "0"}})
    assert (cpu["physical_cores"], cpu["threads_per_core"]) == (2, 2)


def test_arm64_cores_come_from_lscpu_without_sysfs():
    two_threads = '{"lscpu": [{"field": "Thread(s) per core:", "data": "2"}]}'
    cpu = look_at("ampere-altra", "aarch64", lscpu_json=two_threads)
    assert (cpu["logical_cpus"], cpu["physical_cores"], cpu["threads_per_core"]) == (4, 2, 2)


def test_without_any_topology_each_cpu_is_a_core():
    assert cpu_info(fixture("ampere-altra"), "aarch64")["physical_cores"] == 4


AFFINITIES = [
    ("unrestricted", None, 4, 2),
    ("one-thread-of-each-core", {0, 2}, 2, 2),
    ("both-threads-of-one-core", {0, 1}, 2, 1),
    ("numbers-of-the-container's-host", {6, 7, 8}, 3, 2),
]


@pytest.mark.parametrize(("affinity", "cpus", "cores"), [case[1:] for case in AFFINITIES], ids=[case[0] for case in AFFINITIES])
def test_affinity(affinity, cpus, cores):
    cpu = look_at("ice-lake-kvm", affinity=affinity)
    assert (cpu["usable_cpus"], cpu["usable_cores"]) == (cpus, cores)
    assert cpu["physical_cores"] == 2


@pytest.mark.parametrize(
    ("cpu_max", "quota"),
    [("400000 100000", 4), ("50000 100000", 1), ("250000 100000", 2), ("max 100000", None), ("", None), ("1 0", None)],
)
def test_quota(cpu_max, quota):
    assert cpu_quota(cpu_max) == quota


@pytest.mark.parametrize(("quota", "cpus", "cores"), [(None, 4, 2), (1, 1, 1), (3, 3, 2), (96, 4, 2)])
def test_no_more_threads_than_a_quota_has_time_for(quota, cpus, cores):
    cpu = look_at("ice-lake-kvm", quota=quota)
    assert (cpu["usable_cpus"], cpu["usable_cores"], cpu["logical_cpus"]) == (cpus, cores, 4)


NUMA: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("nothing-known", {}, [{"node": 0, "cpus": [0, 1, 24, 25]}]),
    (
        "sysfs",
        {"sysfs": {"numa_nodes": {1: "1,25", 0: "0,24"}}},
        [{"node": 0, "cpus": [0, 24]}, {"node": 1, "cpus": [1, 25]}],
    ),
    (
        "memory-only-node",
        {"sysfs": {"numa_nodes": {0: "0-1,24-25", 1: ""}}},
        [{"node": 0, "cpus": [0, 1, 24, 25]}],
    ),
    (
        "nested-lscpu",
        {
            "lscpu_json": '{"lscpu": [{"field": "NUMA:", "data": null, "children": ['
            '{"field": "NUMA node(s):", "data": "2"},'
            '{"field": "NUMA node0 CPU(s):", "data": "0,1"}, {"field": "NUMA node1 CPU(s):", "data": "24,25"}]}]}'
        },
        [{"node": 0, "cpus": [0, 1]}, {"node": 1, "cpus": [24, 25]}],
    ),
]


@pytest.mark.parametrize(("said", "nodes"), [case[1:] for case in NUMA], ids=[case[0] for case in NUMA])
def test_numa(said, nodes):
    assert look_at("haswell", **said)["numa"] == {"count": len(nodes), "nodes": nodes}


@pytest.mark.parametrize("garbage", ["", "lscpu: failed", "[]", '{"lscpu": [{"field": "CPU(s):"}]}', '{"lscpu": null}'])
def test_unreadable_lscpu_counts_as_none(garbage):
    assert look_at("zen2", lscpu_json=garbage) == look_at("zen2")


def test_a_feature_must_be_on_every_processor():
    mixed = fixture("zen2") + fixture("ivy-bridge-kvm").replace("processor\t: 0", "processor\t: 2")
    assert cpu_info(mixed, "x86_64")["fast"] is False


def test_a_block_without_processor_is_no_processor():
    pi = fixture("cortex-a72") + "Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n"
    assert cpu_info(pi, "aarch64")["logical_cpus"] == 2


NO_FLAGS = re.sub(r"^flags.*\n", "", fixture("zen2"), count=1, flags=re.MULTILINE)
REFUSED = [
    ("empty", "", "x86_64", "lists no processor (its 0 characters"),
    ("not-cpuinfo", "<html>no</html>", "x86_64", "check whether /proc is mounted on the host"),
    ("no-flags", NO_FLAGS, "x86_64", "a processor without a 'flags' line, which x86_64 Linux always writes"),
    ("empty-flags", "processor: 0\nflags: \n", "x86_64", "the CPU's features are not known"),
    ("x86-text-on-arm", fixture("zen2"), "aarch64", "without a 'Features' line, which aarch64 Linux always writes"),
    (
        "machine-type",
        fixture("zen2"),
        "riscv64",
        "'riscv64', and the llama.cpp engine here is built for x86_64 and aarch64",
    ),
]


@pytest.mark.parametrize(("text", "machine", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(text, machine, message):
    with pytest.raises(CopilotError, match=re.escape(message)):
        cpu_info(text, machine)


@pytest.mark.parametrize(
    ("cpulist", "cpus"),
    [("", []), ("0\n", [0]), ("0-3", [0, 1, 2, 3]), ("0-1,8,10-11", [0, 1, 8, 10, 11])],
    ids=["empty", "one", "range", "ranges"],
)
def test_cpulist(cpulist, cpus):
    assert parse_cpulist(cpulist) == cpus


def test_cpulist_refuses_what_the_kernel_never_prints():
    sysfs: Sysfs = {"numa_nodes": {0: "all"}}
    with pytest.raises(CopilotError, match="CPU list 'all' is not of the form '0-3,8'"):
        look_at("zen2", sysfs=sysfs)


LOADED = "load_backend: loaded CPU backend from /opt/slm-copilot/llama.cpp/current/lib/libggml-cpu-{}.so\n"
LOGS = [
    ("x86", "warning\n" + LOADED.format("zen4") + "system_info: n_threads = 2\n", "zen4"),
    ("arm64", LOADED.format("armv8.6_1"), "armv8.6_1"),
    ("llama-server-verbose", "0.00.038.897 I " + LOADED.format("zen4"), "zen4"),
    ("journal-line", "Nov 23 08:00:00 host llama-server[7]: " + LOADED.format("haswell"), "haswell"),
    ("two-starts", LOADED.format("x64") + LOADED.format("haswell"), "haswell"),
    ("no-variants-built", "load_backend: loaded CPU backend from /usr/lib/libggml-cpu.so\n", None),
    ("other-backend", "load_backend: loaded RPC backend from /usr/lib/libggml-rpc.so\n", None),
    ("empty", "", None),
]


@pytest.mark.parametrize(("log", "variant"), [case[1:] for case in LOGS], ids=[case[0] for case in LOGS])
def test_parse_loaded_variant(log, variant):
    assert parse_loaded_variant(log) == variant
