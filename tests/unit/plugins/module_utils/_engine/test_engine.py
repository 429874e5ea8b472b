# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an engine build is decided and named."""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan, cmake_options, compile_jobs

PYPI = {"kind": "pypi", "version": "0.3.36", "sha256": "a" * 64}
BOOKWORM = {"architecture": "x86_64", "distribution": "Debian", "distribution_version": "12.11"}


@pytest.mark.parametrize(
    ("architecture", "gcc", "all_variants", "arm_arch"),
    [
        pytest.param("x86_64", 12, "ON", None, id="x86 with an old compiler"),
        pytest.param("x86_64", 14, "ON", None, id="x86 with a new one"),
        pytest.param("aarch64", 12, "OFF", "armv8.2-a+dotprod+fp16", id="arm64 with a compiler before SME"),
        pytest.param("aarch64", 13, "OFF", "armv8.2-a+dotprod+fp16", id="arm64 with the last compiler before SME"),
        pytest.param("aarch64", 14, "ON", None, id="arm64 with a compiler that knows SME"),
    ],
)
def test_variants(architecture: str, gcc: int, all_variants: str, arm_arch: str | None) -> None:
    options = cmake_options(architecture, gcc, {})
    assert options["GGML_CPU_ALL_VARIANTS"] == all_variants
    assert options.get("GGML_CPU_ARM_ARCH") == arm_arch
    assert options["GGML_NATIVE"] == "OFF"
    assert options["LLAMA_USE_PREBUILT_UI"] == "OFF"


@pytest.mark.parametrize(
    ("distribution", "version", "architecture", "platform", "all_variants"),
    [
        pytest.param("Debian", "12.11", "x86_64", "debian-12-x86_64", "ON", id="Debian 12"),
        pytest.param("Debian", "12.11", "aarch64", "debian-12-aarch64", "OFF", id="Debian 12 on arm64"),
        pytest.param("Debian", "13.1", "aarch64", "debian-13-aarch64", "ON", id="Debian 13 on arm64"),
        pytest.param("Ubuntu", "24.04", "x86_64", "ubuntu-24.04-x86_64", "ON", id="Ubuntu"),
        pytest.param("Ubuntu", "24.04", "aarch64", "ubuntu-24.04-aarch64", "OFF", id="Ubuntu on arm64, whose compiler is older"),
    ],
)
def test_the_compiler_of_the_platform_decides(
    distribution: str, version: str, architecture: str, platform: str, all_variants: str
) -> None:
    facts = {"architecture": architecture, "distribution": distribution, "distribution_version": version}
    plan = build_plan(PYPI, facts, {})
    assert plan["platform"] == platform
    assert plan["options"]["GGML_CPU_ALL_VARIANTS"] == all_variants


def test_a_point_release_is_no_other_platform() -> None:
    assert build_plan(PYPI, BOOKWORM, {}) == build_plan(PYPI, {**BOOKWORM, "distribution_version": "12"}, {})


def test_an_operators_option_wins() -> None:
    assert cmake_options("x86_64", 12, {"GGML_NATIVE": "ON"})["GGML_NATIVE"] == "ON"


def test_an_unknown_architecture_is_refused_by_name() -> None:
    with pytest.raises(CopilotError, match=r"riscv64.*x86_64"):
        build_plan(PYPI, {**BOOKWORM, "architecture": "riscv64"}, {})


@pytest.mark.parametrize(
    ("wanted", "cpus", "memory_mib", "expected"),
    [
        pytest.param(0, 16, 32768, 16, id="one for each CPU"),
        pytest.param(4, 16, 32768, 4, id="the operator's limit"),
        pytest.param(32, 16, 65536, 16, id="never more than CPUs"),
        pytest.param(0, 16, 4096, 2, id="never more than memory allows"),
        pytest.param(0, 2, 512, 1, id="at least one"),
    ],
)
def test_jobs(wanted: int, cpus: int, memory_mib: int, expected: int) -> None:
    assert compile_jobs(wanted, cpus, memory_mib) == expected


def test_like_hosts_share_an_artifact() -> None:
    assert build_plan(PYPI, BOOKWORM, {}) == build_plan(dict(PYPI), dict(BOOKWORM), {})


@pytest.mark.parametrize(
    ("source", "host", "options"),
    [
        pytest.param({**PYPI, "sha256": "b" * 64}, BOOKWORM, {}, id="other source"),
        pytest.param(PYPI, {**BOOKWORM, "distribution_version": "13.1"}, {}, id="other release"),
        pytest.param(PYPI, {**BOOKWORM, "architecture": "aarch64"}, {}, id="other architecture"),
        pytest.param(PYPI, BOOKWORM, {"GGML_OPENMP": "OFF"}, id="other options"),
    ],
)
def test_unlike_hosts_do_not(source: dict[str, str], host: dict[str, str], options: dict[str, str]) -> None:
    ours, theirs = build_plan(PYPI, BOOKWORM, {}), build_plan(source, host, options)
    assert ours["id"] != theirs["id"]
    assert ours["version"] != theirs["version"]
    assert ours["artifact"] != theirs["artifact"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        pytest.param(PYPI, "0.3.36-", id="version"),
        pytest.param({"kind": "git", "commit": "0123456789abcdef"}, "git-0123456789ab-", id="commit"),
        pytest.param({"kind": "archive", "sha256": "fedcba9876543210"}, "archive-fedcba987654-", id="archive"),
    ],
)
def test_versions_say_their_source(source: dict[str, str], name: str) -> None:
    plan = build_plan(source, BOOKWORM, {})
    assert plan["version"].startswith(name)
    assert "debian-12-x86_64" in plan["artifact"]
