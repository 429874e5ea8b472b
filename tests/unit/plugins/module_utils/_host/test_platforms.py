# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The support matrix."""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.platforms import platform_of, platform_problem, supported


def facts(distribution: str, version: str, architecture: str = "x86_64", service_mgr: str = "systemd") -> dict[str, str]:
    """As Ansible gathers them."""
    return {
        "distribution": distribution,
        "distribution_version": version,
        "architecture": architecture,
        "service_mgr": service_mgr,
        "os_family": "Debian",
    }


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(facts("Debian", "12"), "Debian 12", id="Debian 12 without a point release"),
        pytest.param(facts("Debian", "12.11"), "Debian 12", id="Debian 12"),
        pytest.param(facts("Debian", "13.1"), "Debian 13", id="Debian 13"),
        pytest.param(facts("Debian", "12.11", "aarch64"), "Debian 12", id="Debian on arm64"),
        pytest.param(facts("Ubuntu", "24.04"), "Ubuntu 24.04", id="Ubuntu"),
    ],
)
def test_these_are_taken(host: dict[str, str], expected: str) -> None:
    assert platform_of(host).name == expected
    assert platform_problem(host) == ""


@pytest.mark.parametrize(
    ("host", "runs"),
    [
        pytest.param(facts("Debian", "11.11"), "Debian 11.11 on x86_64", id="older Debian"),
        pytest.param(facts("Debian", "14"), "Debian 14 on x86_64", id="newer Debian"),
        pytest.param(facts("Debian", "1"), "Debian 1 on x86_64", id="beginning of a number"),
        pytest.param(facts("Debian", "120"), "Debian 120 on x86_64", id="number with that beginning"),
        pytest.param(facts("Debian", "trixie/sid"), "Debian trixie/sid on x86_64", id="unreleased Debian"),
        pytest.param(facts("Ubuntu", "22.04"), "Ubuntu 22.04 on x86_64", id="older Ubuntu"),
        pytest.param(facts("Ubuntu", "24.10"), "Ubuntu 24.10 on x86_64", id="Ubuntu of the same year"),
        pytest.param(facts("Linux Mint", "12"), "Linux Mint 12 on x86_64", id="derived distribution"),
        pytest.param(facts("Rocky", "12"), "Rocky 12 on x86_64", id="other family"),
        pytest.param(facts("Debian", "12.11", "i386"), "Debian 12.11 on i386", id="32 bits"),
        pytest.param(facts("Debian", "12.11", "armv7l"), "Debian 12.11 on armv7l", id="32 bits of ARM"),
    ],
)
def test_all_others_are_refused_with_what_is_supported(host: dict[str, str], runs: str) -> None:
    problem = platform_problem(host)
    assert problem.startswith(f"The host runs {runs}, which is not supported: ")
    assert supported() in problem
    with pytest.raises(CopilotError, match="not supported"):
        platform_of(host)


def test_another_service_manager_is_refused() -> None:
    problem = platform_problem(facts("Debian", "12.11", service_mgr="sysvinit"))
    assert "Debian 12 with sysvinit" in problem
    assert "systemd" in problem


def test_the_sentence_names_every_row() -> None:
    assert supported() == (
        "Debian 12 and Debian 13 on x86_64 are tested; "
        "Ubuntu 24.04, and all of them on aarch64, are expected to work but not tested"
    )
