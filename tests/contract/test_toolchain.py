# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which packages of a compile go again, as apt itself decides: its real programs, over a state of packages of our own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "roles/llama_cpp_build/files/unneeded_packages.sh"
# What apt said it would install for us: the compiler, with what it needs.
TOOLCHAIN = {"cmake": "libcmake", "libcmake": "", "g++": "libgcc", "libgcc": ""}


class Packages:
    """The packages of a host, with what each depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installed: dict[str, str] = {}
        for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/sources.list.d"):
            (folder / name).mkdir(parents=True)
        (folder / "apt.conf").write_text(
            f'Dir::Etc "{folder}/etc"; Dir::State "{folder}"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";'
        )
        self.environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}

    def install(self, packages: dict[str, str], *, automatically: bool) -> None:
        self.installed |= packages
        stanzas = [
            f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nMaintainer: m <m@example.com>\n"
            + (f"Depends: {needs}\n" if needs else "")
            + "Description: a package\n"
            for name, needs in self.installed.items()
        ]
        (self.folder / "status").write_text("\n".join(stanzas))
        self.mark("auto" if automatically else "manual", packages)

    def mark(self, how: str, packages: Iterable[str]) -> None:
        subprocess.run(["apt-mark", how, *packages], env=self.environment, stdout=subprocess.DEVNULL, check=True)

    def unneeded(self, came: Iterable[str]) -> set[str]:
        """Which of those that came with the toolchain can go."""
        (self.folder / "came").write_text("".join(f"{name}\n" for name in came))
        command = ["sh", SCRIPT, self.folder / "came"]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True)
        return set(done.stdout.split())


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    packages = Packages(tmp_path)
    packages.install({"openssh-server": ""}, automatically=False)
    packages.install(TOOLCHAIN, automatically=True)
    return packages


def test_all_that_came_goes(packages: Packages) -> None:
    assert packages.unneeded(TOOLCHAIN) == set(TOOLCHAIN)


def test_what_came_since_is_none_of_ours(packages: Packages) -> None:
    packages.install({"nginx": ""}, automatically=False)
    packages.install({"linux-image": "", "orphan": ""}, automatically=True)
    assert packages.unneeded(TOOLCHAIN) == set(TOOLCHAIN)


def test_what_was_there_before_stays(packages: Packages) -> None:
    assert packages.unneeded(["cmake", "libcmake"]) == {"cmake", "libcmake"}
    assert packages.unneeded([]) == set()


def test_what_an_admin_wants_stays_with_what_it_needs(packages: Packages) -> None:
    packages.mark("manual", ["g++"])
    assert packages.unneeded(TOOLCHAIN) == {"cmake", "libcmake"}
    packages.mark("manual", ["cmake"])
    assert packages.unneeded(TOOLCHAIN) == set()


@pytest.mark.parametrize("automatically", [pytest.param(False, id="an admin's"), pytest.param(True, id="needed by nothing")])
def test_what_a_package_that_came_since_depends_on_stays(packages: Packages, automatically: bool) -> None:
    packages.install({"dkms": "g++"}, automatically=automatically)
    assert packages.unneeded(TOOLCHAIN) == {"cmake", "libcmake"}


def test_what_somebody_removed_is_gone(packages: Packages) -> None:
    assert packages.unneeded([*TOOLCHAIN, "ninja-build"]) == set(TOOLCHAIN)
