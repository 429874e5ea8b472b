# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB's first stages know where they are."""

from __future__ import annotations

import struct

from ansible_collections.slm.copilot.plugins.module_utils._image.disk import first_stages


def test_the_boot_sector_leads_to_the_core_and_the_core_to_its_rest():
    boot = bytearray(512)
    core = bytearray(512 * 5 + 7)
    struct.pack_into("<QHH", core, 0x1F4, 2, 99, 0x820)
    sector, stages = first_stages(bytes(boot), bytes(core), 2048)
    assert len(sector) == 440  # what follows is the partition table's
    assert struct.unpack_from("<Q", sector, 0x5C) == (2048,)
    assert struct.unpack_from("<QHH", stages, 0x1F4) == (2049, 5, 0x820)
    assert len(stages) == len(core)
