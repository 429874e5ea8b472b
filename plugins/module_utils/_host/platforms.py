# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The support matrix: which systems a host may run, and what the collection needs to know of each.

Everything here takes and returns plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


@dataclass(frozen=True)
class Platform:
    """A release of a distribution."""

    distribution: str
    release: str
    codename: str
    gcc: int  # major version of its g++, which compiles the engine
    tested: bool  # else it is expected to work: it has the packages, a compiler, and a Python that the lock files have wheels for

    @property
    def name(self) -> str:
        return f"{self.distribution} {self.release}"


PLATFORMS = (
    Platform("Debian", "12", "bookworm", gcc=12, tested=True),
    Platform("Debian", "13", "trixie", gcc=14, tested=True),
    Platform("Ubuntu", "24.04", "noble", gcc=13, tested=False),
)
ARCHITECTURES = {"x86_64": True, "aarch64": False}  # whether it is tested; else it is expected to work
SERVICE_MANAGER = "systemd"


def supported() -> str:
    """Returns the whole matrix as a sentence, which the documentation has, too."""

    def those(rows: Mapping[str, bool], tested: bool) -> str:
        return " and ".join(name for name, is_tested in rows.items() if is_tested is tested)

    releases = {platform.name: platform.tested for platform in PLATFORMS}
    return (
        f"{those(releases, True)} on {those(ARCHITECTURES, True)} are tested; {those(releases, False)}, and all of them on "
        f"{those(ARCHITECTURES, False)}, are expected to work but not tested"
    )


def platform_of(facts: Mapping[str, Any]) -> Platform:
    """Returns the row of the matrix for a host.

    :param facts: ``distribution``, ``distribution_version`` and ``architecture``, as Ansible gathers them.
    :raises CopilotError: for a host that is not in the matrix.
    """
    version = str(facts["distribution_version"])
    for platform in PLATFORMS:
        same = platform.distribution == facts["distribution"] and f"{version}.".startswith(f"{platform.release}.")
        if same and facts["architecture"] in ARCHITECTURES:
            return platform
    raise CopilotError(
        f"The host runs {facts['distribution']} {version} on {facts['architecture']}, which is not supported: {supported()}. "
        "Install one of these on it, or take it out of the inventory."
    )


def platform_problem(facts: Mapping[str, Any]) -> str:
    """Returns why a host cannot be a copilot server or balancer, or nothing.

    :param facts: those of ``platform_of``, and ``service_mgr``.
    """
    try:
        platform = platform_of(facts)
    except CopilotError as error:
        return str(error)
    if facts["service_mgr"] != SERVICE_MANAGER:
        return (
            f"The host runs {platform.name} with {facts['service_mgr']}, and the services need {SERVICE_MANAGER}: start the host "
            f"with {SERVICE_MANAGER}. A container needs it as its first process."
        )
    return ""
