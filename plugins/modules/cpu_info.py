#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cpu_info
short_description: Report what a host's CPU can do for llama.cpp
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Reads C(/proc/cpuinfo), sysfs and C(lscpu), and returns the CPU features that llama.cpp uses, the cores, and the CPU variant
    that a llama.cpp built with all variants selects at startup.
  - Reports whether the CPU is fast enough for a language model, and if not, why and what to change. The usual cause is a virtual
    machine whose CPU model hides the host's AVX2.
  - Fails on architectures other than C(x86_64) and C(aarch64), and if C(/proc/cpuinfo) lists no processor or no features.
extends_documentation_fragment:
  - slm.copilot.read_only
options: {}
"""

EXAMPLES = r"""
- name: Read the CPU features
  slm.copilot.cpu_info:
  register: host

- name: Refuse a CPU that is too slow for llama.cpp
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
      description: Architecture, V(x86_64) or V(aarch64).
      type: str
      sample: x86_64
    vendor:
      description: Vendor as reported by the CPU or C(lscpu). V(unknown) if neither reports it.
      type: str
      sample: GenuineIntel
    model_name:
      description: Name of the CPU model. In a virtual machine, the one that the hypervisor presents.
      type: str
      sample: Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz
    features:
      description:
        - Whether every processor has the feature, for each feature. All keys exist on every architecture.
        - On C(x86_64) these are C(sse4_2), C(avx), C(avx2), C(avx_vnni), C(fma), C(f16c), C(bmi2), C(avx512f), C(avx512cd),
          C(avx512vl), C(avx512dq), C(avx512bw), C(avx512_vbmi), C(avx512_vbmi2), C(avx512_vnni), C(avx512_bf16), C(avx512_fp16),
          C(amx_tile), C(amx_int8), C(amx_bf16).
        - On C(aarch64) these are C(dotprod), C(fp16), C(i8mm), C(bf16), C(sve), C(sve2), C(sme).
      type: dict
      sample: {avx2: true, avx512f: false, dotprod: false}
    feature_list:
      description: Names of the available features, sorted.
      type: list
      elements: str
      sample: [avx, avx2, bmi2, f16c, fma, sse4_2]
    level:
      description: Microarchitecture level of the x86-64 psABI, V(x86-64-v1) to V(x86-64-v4). Null on C(aarch64).
      type: str
      sample: x86-64-v3
    llama_cpp_variant:
      description: The CPU variant that llama.cpp will load.
      type: str
      sample: haswell
    logical_cpus:
      description: Number of online logical CPUs.
      type: int
      sample: 32
    physical_cores:
      description: Number of online physical cores.
      type: int
      sample: 16
    threads_per_core:
      description: Threads per core; the largest number if cores differ.
      type: int
      sample: 2
    usable_cpus:
      description:
        - Number of logical CPUs that the module may use. It is smaller than RV(cpu.logical_cpus) if an affinity mask, a cpuset
          or, in a container, a CPU quota limits it.
      type: int
      sample: 32
    usable_cores:
      description: Number of physical cores among these.
      type: int
      sample: 16
    numa:
      description: NUMA nodes with CPUs.
      type: dict
      contains:
        count:
          description: Number of nodes, at least 1.
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
      description:
        - Hypervisor as reported by C(lscpu), in lower case, such as V(kvm), V(vmware), V(xen) or V(microsoft). V(qemu) for
          emulation, V(unknown) for a hypervisor without a name, null on bare metal.
      type: str
      sample: kvm
    fast:
      description: Whether the CPU has AVX2, FMA, F16C and BMI2, or dotprod on C(aarch64).
      type: bool
      sample: true
    slow_reason:
      description: What is missing and what to do. Null if RV(cpu.fast) is true.
      type: str
      sample: >-
        The CPU of this virtual machine lacks AVX2, FMA, F16C and BMI2: llama.cpp would crawl or hang on it. Set the
        VM's CPU model to host-passthrough (currently 'QEMU Virtual CPU version 2.5+') and start the VM again, on a host
        that has these features.
memory_mib:
  description: Memory available to models in MiB.
  returned: success
  type: int
  sample: 32091
conditions:
  description: Host settings that affect the speed of models.
  returned: success
  type: dict
  contains:
    governor:
      description: CPU frequency governor, the slowest one if processors differ. Empty if the host does not control the frequency.
      type: str
      sample: performance
    huge_pages:
      description: Mode of transparent huge pages, V(always), V(madvise) or V(never). Empty if the kernel does not support them.
      type: str
      sample: always
    swap_mib:
      description: Size of the swap space in MiB.
      type: int
      sample: 0
    swap_used_share:
      description: Used swap space as a share of the memory, from 0 to 1.
      type: float
      sample: 0.0
    numa_nodes:
      description: Number of NUMA nodes with CPUs.
      type: int
      sample: 1
    numa_balancing:
      description: Whether automatic NUMA balancing is on.
      type: bool
      sample: false
    steal_share:
      description: Share of the demanded CPU time since boot that the hypervisor gave to other machines (steal), from 0 to 1.
      type: float
      sample: 0.01
advice:
  description: Settings that slow models down, and what to do about them, in sentences.
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
