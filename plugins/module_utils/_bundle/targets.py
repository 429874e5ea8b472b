# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platforms that bundles support, by names such as bookworm-amd64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


@dataclass(frozen=True)
class Target:
    codename: str
    release: str  # of Debian
    python: str  # the release's own, with its patch level, on which some wheels depend
    architecture: str  # as Debian says
    machine: str  # as uname says

    @property
    def name(self) -> str:
        return f"{self.codename}-{self.architecture}"

    @property
    def facts(self) -> dict[str, str]:
        """What Ansible finds on such a host, for the engine's plan."""
        return {"distribution": "Debian", "distribution_version": self.release, "architecture": self.machine}

    @property
    def pip_options(self) -> list[str]:
        """pip's arguments to download wheels for this target."""
        # pip takes just the platforms that are named: those that the C library of Debian 12 (2.36) can load.
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(36, 16, -1)]
        tags += [f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
        version = ".".join(self.python.split(".")[:2])
        options = ["--only-binary=:all:", f"--python-version={version}", "--implementation=cp"]
        options += [f"--abi={abi}" for abi in (f"cp{version.replace('.', '')}", "abi3", "none")]
        return options + [f"--platform={tag}" for tag in tags]

    @property
    def markers(self) -> dict[str, str]:
        """The environment that markers of requirements are held against."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": self.python,
            "python_version": ".".join(self.python.split(".")[:2]),
            "sys_platform": "linux",
        }


TARGETS = {
    target.name: target
    for codename, release, python in (("bookworm", "12", "3.11.2"), ("trixie", "13", "3.13.5"))
    for architecture, machine in (("amd64", "x86_64"), ("arm64", "aarch64"))
    for target in (Target(codename, release, python, architecture, machine),)
}


def named(names: list[str]) -> list[Target]:
    """Returns the targets of these names, sorted.

    :raises CopilotError: for none, and for an unknown one.
    """
    unknown = sorted(set(names) - TARGETS.keys())
    if unknown or not names:
        raise CopilotError(
            f"bundle_targets: {', '.join(unknown) or 'an empty list'} is not a platform that bundles support. "
            f"Choose from {', '.join(TARGETS)}."
        )
    return [TARGETS[name] for name in sorted(set(names))]


def name_of(facts: Mapping[str, Any]) -> str:
    """Returns the name of the target that a host is, or what it is instead where it is none."""
    release = str(facts["distribution_version"]).partition(".")[0]
    for target in TARGETS.values():
        if (facts["distribution"], release, facts["architecture"]) == ("Debian", target.release, target.machine):
            return target.name
    return f"{facts['distribution']} {facts['distribution_version']} on {facts['architecture']}"
