# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VMs of an OpenNebula cloud become the groups that our playbooks read, by the cloud's own protocol."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from xmlrpc.server import SimpleXMLRPCServer

import pytest
from rig import CHECKOUT

ASKED: list[tuple[object, ...]] = []
VM = """
<VM><ID>{id}</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME><NAME>{name}</NAME>
<LAST_POLL>0</LAST_POLL><STATE>3</STATE><LCM_STATE>3</LCM_STATE><RESCHED>0</RESCHED><STIME>1</STIME><ETIME>0</ETIME><DEPLOY_ID/>
<TEMPLATE>{nics}</TEMPLATE><MONITORING/><USER_TEMPLATE><LABELS>{labels}</LABELS><COPILOT_ZONE>{zone}</COPILOT_ZONE></USER_TEMPLATE>
<HISTORY_RECORDS/></VM>"""
BOTH = "copilot-servers,copilot-balancers"
NIC = "<NIC><IP>{}</IP></NIC>"


def vms_of(session: str, *filters: object) -> list[object]:
    ASKED.append((session, *filters))
    vms = [
        VM.format(id=1, name="paris-1", nics=NIC.format("192.0.2.20"), labels="copilot-servers,night", zone="paris"),
        VM.format(
            id=2, name="madrid-1", nics=NIC.format("192.0.2.10") * 2, labels="copilot-servers,copilot-balancers", zone="madrid"
        ),
        VM.format(id=3, name="other", nics=NIC.format("192.0.2.99"), labels="", zone=""),
    ]
    return [True, f"<VM_POOL>{''.join(vms)}</VM_POOL>", 0]


@pytest.fixture
def cloud() -> Iterator[str]:
    """A front-end that knows one call."""
    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False, allow_none=True) as server:
        server.register_function(vms_of, "one.vmpool.infoextended")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/RPC2"
        server.shutdown()


def test_labels_are_groups_and_an_attribute_is_the_zone(cloud: str, tmp_path: Path) -> None:
    secret = tmp_path / "one_auth"
    secret.write_text("operator:a-password\n")
    said = subprocess.run(
        ["ansible-inventory", "-i", str(CHECKOUT / "inventories/opennebula/opennebula.yml"), "--list"],
        env=os.environ | {"ONE_URL": cloud, "ONE_AUTH": str(secret), "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Ansible marks what came from elsewhere, so that it is never a template.
    found = json.loads(said.stdout, object_hook=lambda one: one.get("__ansible_unsafe", one))
    assert found["copilot_servers"]["hosts"] == ["paris-1", "madrid-1"]
    assert found["copilot_balancers"]["hosts"] == ["madrid-1"]
    hosts = found["_meta"]["hostvars"]
    assert {name: (one["ansible_host"], one["copilot_zone"], one["ansible_user"]) for name, one in hosts.items()} == {
        "paris-1": ("192.0.2.20", "paris", "root"),
        "madrid-1": ("192.0.2.10", "madrid", "root"),
        "other": ("192.0.2.99", "", "root"),
    }
    assert ASKED == [("operator:a-password", -2, -1, -1, 3)]
    assert "a-password" not in said.stdout + said.stderr
