# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One compile for two hosts, killed half way. The project is small, so that it is a matter of seconds."""

from __future__ import annotations

import hashlib
import re
import tarfile
from pathlib import Path

from conftest import Operator
from people import PROJECT
from testinfra.host import Host

HOSTS = "copilot-spare:copilot-slow"
STEPS = re.compile(r"\[(copilot-\w+)\] llama.cpp: compiling, \d+ % \(\d+ of (\d+) steps")


def variables(tmp_path: Path) -> dict[str, object]:
    archive = tmp_path / "project.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(PROJECT / "molecule/default/files/project", "project")
    return {
        "llama_cpp_build_source": "archive",
        "llama_cpp_build_archive": str(archive),
        "llama_cpp_build_archive_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "llama_server_allow_slow_cpu": True,
        "copilot_cache_dir": str(tmp_path / "cache"),
    }


def test_a_compile_that_was_killed_goes_on_and_serves_all(operator: Operator, spare: Host, slow: Host, tmp_path: Path) -> None:
    settings = variables(tmp_path)
    packages = spare.check_output("dpkg-query --show").splitlines()
    said = operator.kill_at(STEPS, "--tags", "base,engine", host=HOSTS, **settings)
    spare.check_output("pkill --signal KILL ninja; pkill --signal KILL --full [c]make_build; true")
    first_steps = int(STEPS.findall(said)[-1][1])
    assert not spare.file("/opt/slm-copilot/llama.cpp/current").exists

    run = operator.run("--tags", "base,engine", host=HOSTS, **settings)
    assert run.status == 0, run.output[-3000:]
    compilers = {host for host, _steps in STEPS.findall(run.output)}
    assert compilers == {"copilot-spare"}, "one compile serves both hosts"
    assert int(STEPS.findall(run.output)[-1][1]) < first_steps, "what was compiled before is not compiled again"
    for host in (spare, slow):
        assert host.check_output("/opt/slm-copilot/llama.cpp/current/bin/llama-server") == "version: small"

    # What the compile needed is gone again; what the engine links to stays.
    left = set(spare.check_output("dpkg-query --show --showformat='${Package}\n'").split())
    before = {line.split()[0].split(":")[0] for line in packages}
    runtime = {"libgomp1", "libstdc++6", "gcc-12-base", "libgcc-s1"}
    of_ansible = {"python3-apt", "python-apt-common", "distro-info-data", "lsb-release"}  # its apt module brings them along
    assert left - before <= runtime | of_ansible

    again = operator.run("--tags", "base,engine", host=HOSTS, **settings)
    assert [again.changed(name) for name in ("copilot-spare", "copilot-slow")] == [0, 0]
