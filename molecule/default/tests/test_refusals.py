# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs that must not change anything, and runs that must be refused."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from conftest import Client, Operator
from people import MODEL, PROJECT
from testinfra.host import Host


def untouched(host: Host) -> bool:
    return not host.user("slm-copilot").exists and not any(
        host.file(path).exists for path in ("/etc/slm-copilot", "/opt/slm-copilot", "/var/lib/slm-copilot", "/etc/motd.d")
    )


def red(output: str) -> list[str]:
    """What an operator sees in red, errors that are ignored included."""
    return [line for line in output.splitlines() if re.search(r"^(fatal|failed): |\[ERROR\]|ignored=[1-9]", line)]


def test_check_mode_on_a_bare_host_foretells_and_changes_nothing(operator: Operator, spare: Host, tmp_path: Path) -> None:
    """Nor on a controller that has never had a fleet."""
    fleet = tmp_path / "fleet"
    run = operator.run("--check", "--diff", host="copilot-spare", copilot_fleet_dir=str(fleet))
    assert run.status == 0, run.output[-3000:]
    assert red(run.output) == []
    assert run.changed("copilot-spare") > 5
    assert untouched(spare)
    assert not fleet.exists()


def test_check_mode_on_a_served_host_says_that_all_is_well(operator: Operator) -> None:
    run = operator.run("--check", "--diff")
    assert run.status == 0, run.output[-3000:]
    assert red(run.output) == []
    assert run.changed("copilot-default") == 0
    assert "1 host is unchanged." in run.output


def test_check_mode_on_a_served_host_from_another_controller_foretells_a_new_ca(operator: Operator, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    run = operator.run("--check", "--diff", copilot_fleet_dir=str(fleet), copilot_fleet_adopt=True)
    assert run.status == 0, run.output[-3000:]
    assert red(run.output) == []
    assert "another CA signed it" in run.output
    assert run.changed("copilot-default") > 0
    assert not fleet.exists()


def test_a_mistake_is_refused_before_the_host_is_touched(operator: Operator, spare: Host) -> None:
    """All that is refused is in tests/contract/test_refusals.py."""
    run = operator.run(host="copilot-spare", tls_mode="provided")
    assert run.status != 0
    assert "tls_provided_certificate" in run.output
    assert untouched(spare)


def test_another_folder_than_the_fleets_is_refused(operator: Operator, server: Host, key: str, tmp_path: Path) -> None:
    """A second controller would found another CA, and no client would trust the host any longer."""
    before = server.check_output("find /etc/slm-copilot -type f -exec sha256sum {} +")
    for id_on_host in (True, False):  # hosts that were set up before there were ids have none
        if not id_on_host:
            server.check_output("mv /etc/slm-copilot/facts.d /root/")
        try:
            run = operator.run(copilot_fleet_dir=str(tmp_path / "fleet"))
        finally:
            server.run("mv /root/facts.d /etc/slm-copilot/")
        assert run.status != 0
        assert "copilot_fleet_adopt" in run.output
        assert not (tmp_path / "fleet").exists()
    assert server.check_output("find /etc/slm-copilot -type f -exec sha256sum {} +") == before
    assert Client(key).chat().status == 200


def test_a_processor_without_avx2_is_refused_before_the_host_is_touched(operator: Operator, slow: Host) -> None:
    run = operator.run(host="copilot-slow")
    assert run.status != 0
    assert "host-passthrough" in run.output
    assert untouched(slow)


def test_a_truncated_model_is_never_served(operator: Operator, server: Host, key: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(MODEL.read_bytes()[: MODEL.stat().st_size // 2])
    run = operator.run(copilot_model="cut", copilot_catalogue={"cut": {"src": str(cut)}})
    assert run.status != 0
    assert "truncated" in run.output
    assert not server.file("/var/lib/slm-copilot/models/cut.gguf").exists
    assert Client(key).chat().status == 200


def test_a_model_with_another_checksum_is_never_served(operator: Operator, server: Host, key: str) -> None:
    entry = {"repo": "/".join(MODEL.parts[-3:-1]), "file": MODEL.name, "sha256": "0" * 64}
    run = operator.run(copilot_model="devstral-small-2", copilot_catalogue={"devstral-small-2": entry})
    assert run.status != 0
    assert "sha256" in run.output
    assert Client(key).chat().status == 200


def test_what_does_not_fit_into_memory_never_starts(operator: Operator, key: str) -> None:
    run = operator.run(copilot_context_size=16384, copilot_slots=64, llama_server_reserve_mib=100000000)
    assert run.status != 0
    said = " ".join(run.output.split())
    assert "(64 slots of 16384 tokens" in said
    assert "MiB too few." in said
    assert "1 slot of 4096 tokens" in said
    assert run.changed("copilot-default") == 0, "neither gateway nor router take up what cannot be served"
    assert Client(key).chat().status == 200


def test_auto_is_what_the_model_was_trained_for_where_that_fits(operator: Operator) -> None:
    run = operator.run("--check", "--diff", copilot_context_size="auto")
    assert run.status == 0, run.output[-3000:]
    # A gateway that takes more leaves less memory, and so a smaller prompt cache.
    assert not re.search(r"^[-+] +--ctx-size", run.output, re.MULTILINE), "the default context is that of the tiny model"
    assert "before: /etc/slm-copilot/haproxy.cfg" in run.output, "the gateway takes requests for the largest context"


def test_a_taken_port_is_named(operator: Operator, server: Host, key: str) -> None:
    """The cause comes out of the journal, and mending it mends the service."""
    listener = "import socket,time; s=socket.create_server(('',8555)); time.sleep(600)"
    server.check_output(f'systemd-run --quiet --unit=squatter python3 -c "{listener}"')
    try:
        run = operator.run(copilot_port=8555)
        assert run.status != 0
        assert "8555" in run.output
        assert "Port 8555 is taken by python3" in " ".join(run.output.split())
    finally:
        server.check_output("systemctl stop squatter")
    assert operator.run().status == 0
    assert Client(key).chat().status == 200


def test_it_works_as_an_installed_collection_from_an_empty_folder(operator: Operator, tmp_path: Path) -> None:
    built = subprocess.run(
        ["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path)],
        cwd=PROJECT,
        text=True,
        capture_output=True,
        check=True,
    )
    archive = next(tmp_path.glob("slm-copilot-*.tar.gz"))
    assert str(archive) in built.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    collections = str(tmp_path / "collections")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections}
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", collections, str(archive)]
    subprocess.run(install, cwd=empty, env=environment, check=True, capture_output=True)
    command = operator.command()
    command[1] = "slm.copilot.site"
    done = subprocess.run(command, cwd=empty, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "changed=0" in done.stdout
