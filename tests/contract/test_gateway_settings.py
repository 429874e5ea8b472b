# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only HAProxy finds wrong is refused by it, and what worked stays. What the role refuses before is in test_refusals.py."""

from __future__ import annotations

from pathlib import Path

from gateway_rig import configure
from rig import certificate

BEFORE = "what worked"


def test_what_haproxy_refuses_takes_no_place(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    _chain, key = certificate(folder, "server")
    key.replace(folder / "server-key.pem")
    (folder / "haproxy.cfg").write_text(BEFORE)
    told = configure(tmp_path, {"gateway": {"gateway_client_verify": "optional", "gateway_client_ca_path": "/etc/none.pem"}})
    assert "/etc/none.pem" in told["gateway"]
    assert (folder / "haproxy.cfg").read_text() == BEFORE
