# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes of hosts that serve, while developers never stop asking."""

from __future__ import annotations

from collections.abc import Callable

from conftest import UNIT
from developers import Crowd
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
        assert broken.status != 0 and "What served before serves again" in said, broken.output[-3000:]
        assert "failed: what runs here goes on as it was" in said, "the other host is left alone"
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
