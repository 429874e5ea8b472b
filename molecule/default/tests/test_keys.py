# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys: who may call, who no longer may, and who can read them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import people
import pytest
from conftest import Client, Operator
from testinfra.host import Host

HEADER = "# API keys, each under its name. Managed by slm.copilot.api_key.\n"
KEPT = people.FLEET / "api-keys"
ON_A_HOST_OF_BEFORE = "/etc/slm-copilot/api-keys"
UNITS = ("slm-copilot", "slm-copilot-router", "slm-copilot-gateway")


def keys() -> dict[str, str]:
    """Returns the fleet's keys by name."""
    lines = KEPT.read_text().splitlines()[1:]
    return {name.removeprefix("# name: "): key for name, key in zip(lines[::2], lines[1::2], strict=True)}


def processes(server: Host) -> list[str]:
    return [server.check_output(f"systemctl show --property=MainPID --value {unit}") for unit in UNITS]


def test_the_key_has_256_bits(key: str) -> None:
    assert key.startswith("sk-")
    body = key.removeprefix("sk-")
    assert len(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) >= 32


def test_others_cannot_read_what_is_secret(server: Host) -> None:
    for path, mode, group in (
        ("/etc/slm-copilot", 0o750, "slm-copilot"),
        ("/etc/slm-copilot/keys.map", 0o640, "slm-copilot-gateway"),
        ("/etc/slm-copilot/server-key.pem", 0o640, "slm-copilot-gateway"),
        ("/etc/one-appliance/config", 0o600, "root"),
    ):
        file = server.file(path)
        assert (file.mode, file.user, file.group) == (mode, "root", group), path
    assert KEPT.stat().st_mode & 0o777 == 0o600


def test_each_service_has_an_account_of_its_own(server: Host) -> None:
    accounts = ["slm-copilot", "slm-copilot-router", "slm-copilot-gateway"]
    assert [server.check_output(f"ps -o user:32= -p {process}").strip() for process in processes(server)] == accounts
    for account in (*accounts, "slm-copilot-proxy"):
        assert server.user(account).shell == "/usr/sbin/nologin"
        assert server.user(account).groups == [account], "what it may call is said by its unit alone"
    for path, owner, group in (
        ("/run/slm-copilot/llama-server.sock", "slm-copilot", "slm-copilot-engine"),
        ("/run/slm-copilot-router/router.sock", "root", "slm-copilot-router"),
    ):
        socket = server.file(path)
        assert (socket.user, socket.group, socket.mode & 0o007) == (owner, group, 0), path
    assert server.run("runuser -u slm-copilot-gateway -- ls /run/slm-copilot").rc != 0, "only the router may call the engine"


def test_it_is_nowhere_else(server: Host, key: str) -> None:
    assert Client(key).chat().status == 200
    places = {
        "list of processes": "ps -eo args",
        "environments": "cat /proc/[0-9]*/environ | tr '\\0' '\\n'",
        "journal": "journalctl --no-pager",
        "units": "cat /etc/systemd/system/*.service",
        "reports": "cat /etc/slm-copilot/report.json /etc/motd.d/*",
        "what services read": "find /etc/slm-copilot /run/slm-copilot* -type f -exec cat {} +",
        "what Ansible left": "find /tmp /var/tmp /root -type f -exec cat {} +",
    }
    for place, command in places.items():
        assert key.encode() not in server.run(command).stdout_bytes, place
    assert hashlib.sha256(key.encode()).hexdigest() in server.check_output("cat /etc/slm-copilot/keys.map")


def test_a_developer_gets_a_key_and_loses_it(server: Host, operator: Operator, key: str) -> None:
    """Without a restart, and nobody who looks over the operator's shoulder sees one, at the highest verbosity."""
    before = processes(server)
    given = "sk-given-by-the-operator-0123456789"
    added = operator.run("-vvv", "--diff", copilot_users=[{"name": "alice"}, {"name": "bob", "key": given}])
    assert added.status == 0, added.output[-3000:]
    assert "changed  copilot-default: user added: alice, bob" in added.output
    known = list(keys().values())
    assert len(known) == 3
    assert {key, given} < set(known)
    assert [one for one in known if one in added.output.replace(given, "", 1)] == []
    for one in known:
        assert Client(one).chat().status == 200
        if one != key:
            assert server.run(f"grep -rqF {one} /etc /run/slm-copilot-gateway /var/lib/slm-copilot").rc == 1

    removed = operator.run("-vvv", "--diff", copilot_users=[{"name": "bob", "state": "absent"}])
    assert removed.status == 0, removed.output[-3000:]
    assert [one for one in known if one in removed.output] == []
    for one in known:
        assert Client(one).chat().status == (200 if one == key else 401)
    assert processes(server) == before


def test_a_key_expires_and_a_later_day_makes_it_good_again(server: Host, operator: Operator) -> None:
    before = processes(server)
    for last_day, status in (("2020-02-29", 401), ("2999-12-31", 200)):
        run = operator.run("--tags", "gateway", copilot_users=[{"name": "carol", "expires": last_day}])
        assert run.status == 0, run.output[-3000:]
        assert ("These keys have expired" in " ".join(run.output.split())) == (status == 401)
        assert Client(keys()["carol"]).chat().status == status
    assert processes(server) == before
    assert operator.run("--tags", "gateway").status == 0


@pytest.fixture
def of_before(server: Host) -> Iterator[dict[str, str]]:
    """Makes the host one of before, with its keys in a file, of which the controller knows nothing. Returns the keys."""
    old = {"shared": "sk-of-a-host-of-before-0123456789", "alice": "sk-of-alice-of-before-0123456789"}
    text = HEADER + "".join(f"# name: {name}\n{value}\n" for name, value in old.items())
    server.check_output(f"printf %s '{text}' >{ON_A_HOST_OF_BEFORE}")
    KEPT.rename(KEPT.with_suffix(".kept"))
    yield old
    KEPT.with_suffix(".kept").replace(KEPT)


def test_a_host_of_before_keeps_its_keys(server: Host, operator: Operator, of_before: dict[str, str]) -> None:
    users = [{"name": "alice"}]
    parts = operator.run("--tags", "gateway", copilot_users=users)
    assert parts.status != 0 and "for it once without --tags" in " ".join(parts.output.split())
    foreseen = operator.run("--check", "--diff", copilot_users=users)
    assert foreseen.status == 0, foreseen.output[-3000:]
    assert not KEPT.exists() and server.file(ON_A_HOST_OF_BEFORE).exists
    run = operator.run("-vvv", "--diff", copilot_users=users)
    assert run.status == 0, run.output[-3000:]
    assert keys() == of_before
    assert not [one for one in of_before.values() if one in run.output]
    assert not server.file(ON_A_HOST_OF_BEFORE).exists
    assert [Client(one).chat().status for one in of_before.values()] == [200, 200]


def test_keys_of_before_that_cannot_be_read_are_told(server: Host, operator: Operator, of_before: dict[str, str]) -> None:
    server.check_output(f"echo sk-of-nobody >>{ON_A_HOST_OF_BEFORE}")
    run = operator.run(copilot_users=[{"name": "alice"}])
    assert run.status != 0
    said = " ".join(run.output.split())
    assert "copilot-default: the developers' keys" in said
    assert f"{ON_A_HOST_OF_BEFORE} is not a key file" in said and "line 6 is not" in said and "Repair the file" in said
    assert not [one for one in (*of_before.values(), "sk-of-nobody") if one in run.output]
    assert not KEPT.exists()
    server.check_output(f"rm {ON_A_HOST_OF_BEFORE}")


def test_and_the_fleet_has_its_keys_again(operator: Operator) -> None:
    """For the tests that come after."""
    run = operator.run()
    assert run.status == 0, run.output[-3000:]
    assert Client(keys()["shared"]).chat().status == 200
