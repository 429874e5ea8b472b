#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cpu_info
short_description: What a host's CPU can do for llama.cpp
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads C(/proc/cpuinfo), sysfs and C(lscpu) and returns the features of the CPU that matter to llama.cpp, its cores,
    and the CPU variant that a llama.cpp built with all variants picks at start.
  - Says whether the CPU is fast enough for a language model, and if not, why and what to change. The usual reason is a
    virtual machine whose CPU model hides the host's AVX2.
  - Fails on machine types other than C(x86_64) and C(aarch64), and when C(/proc/cpuinfo) lists no processor or no
    features.
extends_documentation_fragment:
  - slm.copilot.read_only
options: {}
"""

EXAMPLES = r"""
- name: Look at the CPU
  slm.copilot.cpu_info:
  register: host

- name: Refuse a CPU on which llama.cpp would crawl
  ansible.builtin.assert:
    that: host.cpu.fast
    fail_msg: "{{ host.cpu.slow_reason }}"
    success_msg: "{{ host.cpu.model_name }} runs the variant {{ host.cpu.llama_cpp_variant }}"
"""

RETURN = r"""
cpu:
  description: The CPU of the host.
  returned: success
  type: dict
  contains:
    architecture:
      description: Machine type, V(x86_64) or V(aarch64).
      type: str
      sample: x86_64
    vendor:
      description: Vendor as the CPU or C(lscpu) gives it, V(unknown) where neither does.
      type: str
      sample: GenuineIntel
    model_name:
      description: Name of the CPU model; in a virtual machine the one that its hypervisor shows.
      type: str
      sample: Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz
    features:
      description:
        - For each feature whether every processor has it. All keys are there on every architecture.
        - On C(x86_64) these are C(sse4_2), C(avx), C(avx2), C(avx_vnni), C(fma), C(f16c), C(bmi2), C(avx512f),
          C(avx512cd), C(avx512vl), C(avx512dq), C(avx512bw), C(avx512_vbmi), C(avx512_vbmi2), C(avx512_vnni),
          C(avx512_bf16), C(avx512_fp16), C(amx_tile), C(amx_int8), C(amx_bf16).
        - On C(aarch64) these are C(dotprod), C(fp16), C(i8mm), C(bf16), C(sve), C(sve2), C(sme).
      type: dict
      sample: {avx2: true, avx512f: false, dotprod: false}
    feature_list:
      description: Names of the features that are there, sorted.
      type: list
      elements: str
      sample: [avx, avx2, bmi2, f16c, fma, sse4_2]
    level:
      description: Micro-architecture level of the x86-64 psABI, V(x86-64-v1) to V(x86-64-v4); null on C(aarch64).
      type: str
      sample: x86-64-v3
    llama_cpp_variant:
      description: The CPU variant that llama.cpp will load.
      type: str
      sample: haswell
    logical_cpus:
      description: Logical CPUs that are online.
      type: int
      sample: 32
    physical_cores:
      description: Physical cores that are online.
      type: int
      sample: 16
    threads_per_core:
      description: Threads of a core; the largest number, where cores differ.
      type: int
      sample: 2
    usable_cpus:
      description: Logical CPUs that the scheduler gives to the module, fewer than RV(cpu.logical_cpus) where an
        affinity, a cpuset or, in a container, a quota of time restricts it.
      type: int
      sample: 32
    usable_cores:
      description: Physical cores among these.
      type: int
      sample: 16
    numa:
      description: NUMA nodes that have CPUs.
      type: dict
      contains:
        count:
          description: How many there are, at least one.
          type: int
          sample: 1
        nodes:
          description: Number of each node and its logical CPUs.
          type: list
          elements: dict
          sample:
            - node: 0
              cpus: [0, 1, 2, 3]
    hypervisor:
      description: Hypervisor as C(lscpu) names it, in lower case, such as V(kvm), V(vmware), V(xen), V(microsoft);
        V(qemu) for emulation; V(unknown) for one that does not say; null on bare metal.
      type: str
      sample: kvm
    fast:
      description: Whether the CPU has AVX2, FMA, F16C and BMI2, or dotprod on C(aarch64).
      type: bool
      sample: true
    slow_reason:
      description: What is missing and what to do; null where RV(cpu.fast) is true.
      type: str
      sample: >-
        The CPU of this virtual machine lacks AVX2, FMA, F16C and BMI2: llama.cpp would crawl or hang on it. Set the
        VM's CPU model to host-passthrough (currently 'QEMU Virtual CPU version 2.5+') and start the VM again, on a host
        that has these features.
memory_mib:
  description: Memory that the CPU can use, in MiB, which models are planned by.
  returned: success
  type: int
  sample: 32091
conditions:
  description: What of the host's settings decides how fast a model is.
  returned: success
  type: dict
  contains:
    governor:
      description: Governor of the processors' clocks, the slowest where they differ; empty where the host has no say in them.
      type: str
      sample: performance
    huge_pages:
      description: Transparent huge pages, V(always), V(madvise) or V(never); empty where the kernel has none.
      type: str
      sample: always
    swap_mib:
      description: Swap that there is, in MiB.
      type: int
      sample: 0
    swap_used_share:
      description: How much is in it, as a share of the memory.
      type: float
      sample: 0.0
    numa_nodes:
      description: NUMA nodes that have CPUs.
      type: int
      sample: 1
    numa_balancing:
      description: Whether the kernel moves memory between NUMA nodes.
      type: bool
      sample: false
    steal_share:
      description: Of the time since the start in which processors were wanted, how much other machines of the hypervisor had.
      type: float
      sample: 0.01
advice:
  description: What of these makes models slower, and what to do, in sentences.
  returned: success
  type: list
  elements: str
  sample: []
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.conditions import lasting_advice, passing_advice, read_conditions
from ansible_collections.slm.copilot.plugins.module_utils._host.meminfo import memory_mib
from ansible_collections.slm.copilot.plugins.module_utils._host.state import lscpu, read_cpu


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        cpu = read_cpu(lscpu(module))
    except CopilotError as error:
        module.fail_json(msg=str(error))
    conditions = read_conditions()
    module.exit_json(
        changed=False,
        cpu=cpu,
        memory_mib=memory_mib("MemTotal"),
        conditions=asdict(conditions),
        advice=lasting_advice(conditions) + passing_advice(conditions),
    )


if __name__ == "__main__":
    main()
