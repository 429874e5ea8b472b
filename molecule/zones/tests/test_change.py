# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes of hosts that serve, while developers never stop asking."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import BALANCERS, caller
from developers import Client, Crowd
from fleet import GATEWAY, REBOOT, UNIT, key_of, machines, starts
from people import Operator
from testinfra.host import Host

TWO = ("--limit", "paris-1,berlin-1")


def test_a_change_goes_from_host_to_host_is_undone_where_it_is_not_well_and_cuts_no_answer(
    operator: Operator, hosts: dict[str, Host], crowd: Callable[..., Crowd]
) -> None:
    """Then everything goes back to what it was."""

    def timeouts() -> list[str]:
        return [
            hosts[name].check_output(f"grep --only-matching -e '--timeout [0-9]*' /etc/systemd/system/{UNIT} | head -1")
            for name in ("paris-1", "berlin-1")
        ]

    before = timeouts()
    with crowd(developers=2) as developers:
        changed = operator.run(*TWO, "--tags", "server", llama_server_timeout=3601)
        assert changed.status == 0, changed.output[-3000:]
        assert timeouts() == ["--timeout 3601"] * 2

        broken = operator.run(*TWO, "--tags", "server", llama_server_timeout=3601, llama_server_extra_args=["--no-such-flag"])
        said = " ".join(broken.output.split())
        assert broken.status != 0 and "The previous version was restored" in said, broken.output[-3000:]
        assert "failed: this host keeps running unchanged" in said, "the other host is left alone"
        assert timeouts() == ["--timeout 3601"] * 2
        for name in ("paris-1", "berlin-1"):
            assert "--no-such-flag" not in hosts[name].check_output(f"cat /etc/systemd/system/{UNIT}")
        again = operator.run(*TWO, "--tags", "server", llama_server_timeout=3601)
        assert again.status == 0, again.output[-3000:]

        back = operator.run(*TWO, playbook="playbooks/rollback.yml")
        assert back.status == 0, back.output[-3000:]
        developers.asked(2)
    assert timeouts() == before
    assert developers.lost() == [] and developers.cut() == []
    assert operator.run(*TWO, "--tags", "server").changed("paris-1") == 0


@pytest.fixture
def other_client() -> Client:
    """A developer's program at the second balancer."""
    return caller(key_of("shared", "api-keys"), BALANCERS["berlin-2"])


def test_hosts_reboot_one_after_the_other_and_no_request_is_lost(
    operator: Operator, hosts: dict[str, Host], crowd: Callable[..., Crowd], other_client: Client
) -> None:
    """One of them is a balancer, too; developers come to the other one."""
    names = ("madrid-1", "paris-1")
    limit = ("--limit", ",".join(names))
    before = {name: starts(hosts[name]) for name in names}
    listed = operator.run(*limit, "--check", **REBOOT)
    assert [listed.changed(name) > 0 for name in names] == [True] * 2
    unneeded = operator.run(*limit, reboot_only_if_required=True, **REBOOT)
    assert unneeded.status == 0, unneeded.output[-3000:]
    assert [unneeded.changed(name) for name in names] == [0] * 2
    assert {name: starts(hosts[name]) for name in names} == before

    for name in names:
        hosts[name].check_output("touch /run/reboot-required")
    with crowd(developers=2, asks=other_client) as developers, machines(*names):
        done = operator.run(*limit, reboot_only_if_required=True, **REBOOT)
        assert done.status == 0, done.output[-3000:]
        developers.asked(2)
    assert all(starts(hosts[name]) != before[name] for name in names)
    assert developers.lost() == [] and developers.cut() == []
    assert operator.run(*limit).changed("paris-1") == 0


def test_a_host_whose_answers_do_not_end_is_not_rebooted_and_goes_on(
    operator: Operator, hosts: dict[str, Host], client: Client
) -> None:
    before = starts(hosts["madrid-1"])
    stream = client.streaming(max_tokens=4000, ignore_eos=True)
    next(stream)
    refused = operator.run("--limit", "madrid-1,paris-1", copilot_drain_timeout=3, **REBOOT)
    said = " ".join(refused.output.split())
    assert refused.status != 0 and "madrid-1 was not rebooted: " in said, refused.output[-3000:]
    assert "still in flight after 3 seconds, and the host keeps running unchanged" in said
    assert "paris-1" not in refused.output.partition("PLAY RECAP")[2]
    assert client.chat().status == 200, "the gateway lets in again"
    *_pieces, seen = stream
    assert seen.finished and not seen.error, "what was under way is not cut"
    assert starts(hosts["madrid-1"]) == before
    assert hosts["madrid-1"].service(GATEWAY).is_running
