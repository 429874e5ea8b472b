# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides how llama.cpp is compiled for a host, and by what name the result is known.

Everything here takes and returns plain data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._host.platforms import platform_of

TARGETS = ("llama-server", "llama-bench", "llama-quantize")

# One shared library for each CPU variant, chosen when the program starts. Nothing is fetched while compiling: the
# prebuilt web page is off. The libraries find each other beside the program, wherever an artifact is unpacked.
COMMON_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_NATIVE": "OFF",
    "GGML_BACKEND_DL": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "ON",
}
ALL_VARIANTS = {"GGML_CPU_ALL_VARIANTS": "ON"}
# The arm64 variants reach up to armv9.2-a+sme, which GCC knows since version 14. What every arm64 server CPU of the
# last years has (Graviton 2, Ampere Altra and later) is the one variant that an older compiler makes.
OLD_ARM_COMPILER = {"GGML_CPU_ALL_VARIANTS": "OFF", "GGML_CPU_ARM_ARCH": "armv8.2-a+dotprod+fp16"}
FIRST_GCC_WITH_SME = 14

COMPILE_JOB_MIB = 1536  # what one compiler process may need: the largest file of llama.cpp takes 1.2 GiB


def cmake_options(architecture: str, gcc: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Returns the cmake cache variables for a host.

    :param architecture: as ``uname -m`` says: ``x86_64`` or ``aarch64``.
    :param gcc: major version of the compiler.
    :param extra: the operator's own additions; they win.
    """
    old_arm = architecture == "aarch64" and gcc < FIRST_GCC_WITH_SME
    return {**COMMON_OPTIONS, **(OLD_ARM_COMPILER if old_arm else ALL_VARIANTS), **extra}


def compile_jobs(wanted: int, cpus: int, memory_mib: int) -> int:
    """Returns how many compiler processes run at once: never more than memory allows.

    :param wanted: the operator's limit; 0 means one for each CPU.
    :param memory_mib: memory that is free for compiling, in MiB.
    """
    return max(1, min(wanted or cpus, cpus, memory_mib // COMPILE_JOB_MIB))


def build_plan(source: Mapping[str, Any], host: Mapping[str, Any], extra_options: Mapping[str, str]) -> dict[str, Any]:
    """Returns what decides a build, and its names.

    Two hosts with the same ``id`` can run the same artifact.

    :param source: ``kind`` (pypi, git or archive) with ``version`` and ``sha256``, or ``commit``, or ``sha256``.
    :param host: ``architecture``, ``distribution`` and ``distribution_version``, as Ansible gathers them.
    :raises CopilotError: for a host that is not in the support matrix.
    """
    system = platform_of(host)
    options = cmake_options(host["architecture"], system.gcc, extra_options)
    platform = f"{system.distribution.lower()}-{system.release}-{host['architecture']}"
    identity = {"source": dict(source), "platform": platform, "options": options, "targets": TARGETS}
    build_id = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    names = {
        "pypi": source.get("version"),
        "git": f"git-{str(source.get('commit'))[:12]}",
        "archive": f"archive-{str(source.get('sha256'))[:12]}",
    }
    return {
        "id": build_id,
        "version": f"{names[source['kind']]}-{build_id[:8]}",
        "artifact": f"llama.cpp-{names[source['kind']]}-{platform}-{build_id}.tar.gz",
        "options": options,
        "targets": list(TARGETS),
        "platform": platform,
    }
