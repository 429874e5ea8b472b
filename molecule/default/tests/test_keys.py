# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys: who may call, who no longer may, and who can read them."""

from __future__ import annotations

import base64

from conftest import Client, Operator
from testinfra.host import Host


def test_the_key_has_256_bits(key: str) -> None:
    assert key.startswith("sk-")
    body = key.removeprefix("sk-")
    assert len(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) >= 32


def test_others_cannot_read_it(server: Host) -> None:
    for path, mode, group in (
        ("/etc/slm-copilot", 0o750, "slm-copilot"),
        ("/etc/slm-copilot/api-keys", 0o640, "slm-copilot"),
        ("/etc/slm-copilot/server-key.pem", 0o640, "slm-copilot-gateway"),
        ("/etc/one-appliance/config", 0o600, "root"),
    ):
        file = server.file(path)
        assert (file.mode, file.user, file.group) == (mode, "root", group), path


def test_it_is_nowhere_else(server: Host, key: str) -> None:
    assert Client(key).chat().status == 200
    places = {
        "list of processes": "ps -eo args",
        "environments": "cat /proc/[0-9]*/environ | tr '\\0' '\\n'",
        "journal": "journalctl --no-pager",
        "units": "cat /etc/systemd/system/*.service",
        "reports": "cat /etc/slm-copilot/report.json /etc/motd.d/*",
        "what Ansible left": "find /tmp /var/tmp /root -type f -exec cat {} +",
    }
    for place, command in places.items():
        assert key.encode() not in server.run(command).stdout_bytes, place


def test_a_developer_gets_a_key_and_loses_it(server: Host, operator: Operator, key: str) -> None:
    """And nobody who looks over the operator's shoulder sees one, at the highest verbosity."""
    given = "sk-given-by-the-operator-0123456789"
    added = operator.run("-vvv", "--diff", copilot_users=[{"name": "alice"}, {"name": "bob", "key": given}])
    assert added.status == 0, added.output[-3000:]
    assert "changed  copilot-default: user added: alice, bob" in added.output
    keys = server.check_output("grep -v '^#' /etc/slm-copilot/api-keys").splitlines()
    assert len(keys) == 3
    assert {key, given} < set(keys)
    assert [one for one in keys if one in added.output.replace(given, "", 1)] == []
    for one in keys:
        assert Client(one).chat().status == 200

    removed = operator.run("-vvv", "--diff", copilot_users=[{"name": "bob", "state": "absent"}])
    assert removed.status == 0, removed.output[-3000:]
    assert [one for one in keys if one in removed.output] == []
    for one in keys:
        assert Client(one).chat().status == (200 if one == key else 401)
