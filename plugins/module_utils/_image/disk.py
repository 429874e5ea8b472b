# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds a disk image from a folder: GPT, GRUB for BIOS, and one ext4 file system that grows at the first boot.

No loop device and no mount: the file system is filled by mke2fs, and GRUB's first stages are written where the firmware
and they themselves look for them, as grub-bios-setup does it.
"""

from __future__ import annotations

import struct
import tempfile
import uuid
from pathlib import Path

from ansible_collections.slm.copilot.plugins.module_utils._common.programs import run

LABEL = "slm-copilot"  # of the file system, in /etc/fstab and grub.cfg
SECTOR = 512
MIB = 1 << 20
GRUB = Path("/usr/lib/grub/i386-pc")
_BOOT_SECTOR, _ROOT_SECTOR = 2048, 4096
_MODULES = [
    "biosdisk",
    "part_gpt",
    "ext2",
    "normal",
    "configfile",
    "linux",
    "search",
    "search_label",
    "echo",
    "serial",
    "terminal",
    "test",
]
# Of the partitions' types: systemd-repart grows the second because of it
_BIOS_BOOT, _ROOT = "21686148-6449-6E6F-744E-656564454649", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
PROGRAMS = {
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "grub-mkimage": "grub-common",
    "qemu-img": "qemu-utils",
}


def first_stages(boot: bytes, core: bytes, sector: int) -> tuple[bytes, bytes]:
    """Returns GRUB's boot sector and its core with the addresses that they have on this disk.

    :param boot: boot.img, 512 bytes, of which the partition table keeps the end.
    :param core: what grub-mkimage wrote.
    :param sector: where the core begins.
    """
    # 0x5c: where boot.img finds the core. 0x1f4: the block list of the core's first sector: start of the rest, length, segment.
    boot = boot[:0x5C] + struct.pack("<Q", sector) + boot[0x64:440]
    length = -(-len(core) // SECTOR) - 1
    _start, _length, segment = struct.unpack_from("<QHH", core, 0x1F4)
    return boot, core[:0x1F4] + struct.pack("<QHH", sector + 1, length, segment) + core[0x200:]


def make(root: Path, image: Path, spare_mib: int, identity: uuid.UUID) -> int:
    """Writes a compressed qcow2 with the files of a folder. Returns its virtual size in bytes.

    :param spare_mib: free space on the file system, which is enough until it grows.
    :param identity: of the disk; the same gives the same bytes of table and file system.
    """
    used = int(run(["du", "--summarize", "--block-size=1M", str(root)], "size of the files").split()[0])
    blocks_mib = int(used * 1.08) + 64 + spare_mib  # inodes and the journal
    with tempfile.TemporaryDirectory(dir=image.parent, prefix=f".{image.name}.") as work:
        raw, system, core = Path(work, "raw"), Path(work, "root.ext4"), Path(work, "core.img")
        run(
            [
                "mke2fs", "-q", "-t", "ext4", "-d", str(root), "-L", LABEL, "-U", str(identity), "-m", "1",
                "-O", "^metadata_csum_seed,^orphan_file", "-E", f"hash_seed={identity},lazy_itable_init=0,lazy_journal_init=0",
                str(system), f"{blocks_mib}M",
            ],
            "file system",
        )  # fmt: skip
        run(
            ["grub-mkimage", "-O", "i386-pc", "-d", str(GRUB), "-p", "(hd0,gpt2)/boot/grub", "-o", str(core), *_MODULES],
            "boot loader",
        )
        total = _ROOT_SECTOR * SECTOR + blocks_mib * MIB + MIB  # the table's copy is at the end
        with raw.open("wb") as disk:
            disk.truncate(total)
        table = (
            f"label: gpt\nlabel-id: {identity}\nfirst-lba: 34\n"
            f"start={_BOOT_SECTOR}, size={_ROOT_SECTOR - _BOOT_SECTOR}, type={_BIOS_BOOT}, uuid={uuid.uuid5(identity, 'boot')}\n"
            f"start={_ROOT_SECTOR}, size={blocks_mib * MIB // SECTOR}, type={_ROOT}, uuid={uuid.uuid5(identity, 'root')}\n"
        )
        run(["sfdisk", "--quiet", str(raw)], "partition table", table)
        boot, stages = first_stages((GRUB / "boot.img").read_bytes(), core.read_bytes(), _BOOT_SECTOR)
        with raw.open("r+b") as disk:
            disk.write(boot)
            disk.seek(_BOOT_SECTOR * SECTOR)
            disk.write(stages)
        run(["dd", f"if={system}", f"of={raw}", "bs=1M", f"seek={_ROOT_SECTOR * SECTOR // MIB}", "conv=notrunc,sparse"], "disk")
        system.unlink()
        done = Path(work, "qcow2")
        run(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(done)], "qcow2")
        done.replace(image)
    return total
