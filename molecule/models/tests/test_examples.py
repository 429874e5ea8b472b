# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks of examples/ on a bare host, which knows nothing of this collection: the scenario's hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import people
import pytest
import testinfra
from conftest import INVENTORY
from testinfra.host import Host

HUB = "models-hub"


@pytest.fixture(scope="module")
def bare() -> Host:
    return testinfra.get_host(f"podman://{HUB}")


def play(tmp_path: Path, name: str, **variables: Any) -> None:
    """Plays an example twice; the second time nothing is to be done."""
    operator = people.Operator(tmp_path, [INVENTORY], limit=f"{HUB}:localhost")
    options = {"playbook": f"examples/{name}.yml", "groups": {"copilot_servers": [HUB]}, **variables}
    first = operator.run(**options)
    assert first.status == 0, first.output[-3000:]
    again = operator.run(**options)
    assert (again.status, again.changed(HUB)) == (0, 0), again.output[-3000:]


def test_an_engine(tmp_path: Path, bare: Host) -> None:
    play(tmp_path, "engine")
    assert bare.run("/opt/slm-copilot/llama.cpp/current/bin/llama-server --version").rc == 0
    assert not bare.exists("cmake")


def test_a_model(tmp_path: Path, bare: Host) -> None:
    source = people.PROJECT / ".cache/molecule/models/test/tiny/one.gguf"
    models = {"copilot_models": ["mine"], "copilot_catalogue": {"mine": {"src": str(source)}}, "model_fetch_lock_file": ""}
    play(tmp_path, "model", **models)
    there = bare.file("/var/lib/slm-copilot/models/one.gguf")
    assert there.size == source.stat().st_size
    assert (there.user, there.group, there.mode) == ("root", "slm-copilot", 0o640)


def test_a_certificate(tmp_path: Path, bare: Host) -> None:
    play(tmp_path, "certificate")
    key = bare.file("/etc/ssl/example-key.pem")
    assert (key.user, key.group, key.mode) == ("root", "daemon", 0o640)
    assert bare.file("/etc/ssl/example-ca.pem").content_string == (people.FLEET / "ca/ca.pem").read_text()
    bare.check_output("openssl verify -CAfile /etc/ssl/example-ca.pem /etc/ssl/example.pem")
