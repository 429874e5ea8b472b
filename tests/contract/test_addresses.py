# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel says of addresses, as the certificates' names are made of it."""

from __future__ import annotations

import subprocess

from ansible_collections.slm.copilot.plugins.module_utils._access.certificates import stable_ipv6
from gateway_rig import AS_ROOT

# With mngtmpaddr the kernel makes a temporary address by itself; a preferred lifetime of 0 is what deprecated means.
SCRIPT = """
set -e
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
echo 2 >/proc/sys/net/ipv6/conf/v0/use_tempaddr
ip -6 addr add 2001:db8::5054:ff:fe12:3456/64 dev v0 nodad mngtmpaddr preferred_lft 3600 valid_lft 7200
ip -6 addr add 2001:db8:1::1/64 dev v0 nodad preferred_lft 0
ip -6 addr add fd00::1/64 dev v0 nodad
ip -6 addr add fd00::2/64 dev v0
cat /proc/net/if_inet6
"""


def test_of_a_host_s_addresses_those_that_stay_are_taken() -> None:
    command = [*AS_ROOT, "unshare", "--net", "sh", "-c", SCRIPT]
    table = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert len([line for line in table.splitlines() if line.split()[3] == "00"]) == 5  # one of them the kernel's own
    assert stable_ipv6(table) == ["2001:db8::5054:ff:fe12:3456", "fd00::1"]
