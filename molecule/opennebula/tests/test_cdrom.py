# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image boots in an emulated PC, with its context on a CD-ROM as OpenNebula makes it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import contexts
import pytest
from developers import eventually

IMAGE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "slm-copilot/appliance/tiny.qcow2")
PORT = 12222  # on this machine, for SSH
MAC = "02:00:c0:00:02:07"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Boots the machine. Gives a function that runs a command there, as root by the SSH key of the context."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    values = {
        "VMID": "7",
        "SET_HOSTNAME": "vm-seven",
        "SSH_PUBLIC_KEY": (tmp_path / "key.pub").read_text(),
        "ETH0_MAC": MAC,
        "ETH0_IP": "10.0.2.77",
        "ETH0_MASK": "255.255.255.0",
        "ETH0_GATEWAY": "10.0.2.2",
        "ONEAPP_COPILOT_CONTEXT_SIZE": "$(touch /tmp/ran)'`reboot`",
    }
    contexts.write(tmp_path / "cd", values)
    disk, cdrom, serial = (tmp_path / name for name in ("disk.qcow2", "context.iso", "serial"))
    iso = ["xorriso", "-as", "mkisofs", "-V", "CONTEXT", "-J", "-R", "-o", str(cdrom), str(tmp_path / "cd")]
    overlay = ["qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", str(IMAGE), str(disk)]
    for command in (iso, overlay):
        subprocess.run(command, check=True, capture_output=True)
    command = ["qemu-system-x86_64", "-cpu", "max", "-m", "2048", "-display", "none", "-serial", f"file:{serial}"]
    command += ["-drive", f"file={disk},if=virtio", "-cdrom", str(cdrom), "-device", f"virtio-net-pci,netdev=n,mac={MAC}"]
    command += ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{PORT}-10.0.2.77:22"]
    options = [f"-o{name}" for name in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=20")]
    ssh = ["ssh", "-q", "-p", str(PORT), "-i", str(tmp_path / "key"), *options, "root@127.0.0.1"]

    def run(there: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*ssh, there], capture_output=True, text=True, check=False)

    machine = subprocess.Popen(command)
    try:
        eventually(lambda: run("true").returncode == 0, "the machine lets its owner in", seconds=900, every=5)
        yield run
    finally:
        machine.kill()
        machine.wait()
        print(serial.read_text(errors="replace")[-4000:])


def test_addresses_names_keys_and_settings_come_from_the_cd_rom(machine):
    assert machine("hostname").stdout == "vm-seven\n"
    assert "10.0.2.77/24" in machine("ip -4 address").stdout
    eventually(lambda: machine("cat /etc/one-appliance/status").stdout == "configure_failure\n", "the settings are read", 600, 5)
    said = machine("cat /etc/motd").stdout
    assert """ONEAPP_COPILOT_CONTEXT_SIZE is "$(touch /tmp/ran)'`reboot`", and must be a whole number""" in said
    assert machine("test -e /tmp/ran").returncode == 1
