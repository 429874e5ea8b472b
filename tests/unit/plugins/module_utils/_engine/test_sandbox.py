# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.module_utils._engine.sandbox import HIDDEN, sandboxed
from ansible_collections.slm.copilot.tests.unit.fixtures.inside import LOOK, SEEN_BY_NOBODY

ROLES = Path(__file__).resolve().parents[5] / "roles"
only_root = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--net", "--mount", "true"], check=False).returncode != 0,
    reason="only root can run something as somebody else, in namespaces of its own",
)


def run(user: str, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(sandboxed(user, ["/bin/sh", "-c", script]), capture_output=True, text=True, check=False)


@only_root
def test_what_runs_in_it_is_nobody_and_sees_neither_network_nor_sockets() -> None:
    assert Path("/run").is_dir() and list(Path("/run").iterdir()), "or nothing would be hidden"
    assert run("nobody", LOOK).stdout.strip() == SEEN_BY_NOBODY


@only_root
def test_nothing_of_it_stays_on_the_host() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    assert run("nobody", "exit 3").returncode == 3
    assert Path("/proc/self/mountinfo").read_text() == before


@only_root
def test_without_the_sandbox_nothing_runs() -> None:
    """As where root may not make namespaces."""
    command = ["setpriv", "--bounding-set=-sys_admin", *sandboxed("nobody", ["/bin/echo", "it runs"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "it runs" not in done.stdout
    assert "unshare" in done.stderr


def test_the_unit_hides_the_same_folders() -> None:
    unit = (ROLES / "llama_server/templates/slm-copilot.service.j2").read_text(encoding="utf-8")
    layout = yaml.safe_load((ROLES / "copilot/vars/main.yml").read_text(encoding="utf-8"))["copilot_layout"]
    hidden = set(re.search(r"^TemporaryFileSystem=(.*)$", unit, re.MULTILINE)[1].split())  # type: ignore[index]
    assert "PrivateTmp=true" in layout["unit_hardening"].splitlines()
    assert {"PrivateNetwork=yes", "{{ copilot_layout.unit_hardening }}"} <= set(unit.splitlines())
    assert hidden | {"/tmp", "/var/tmp"} == set(HIDDEN)
