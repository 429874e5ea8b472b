# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gateway as a service of a host. What it lets through, and what not, is in tests/contract."""

from __future__ import annotations

from people import Operator, Run
from testinfra.host import Host

UNIT = "slm-copilot-gateway.service"
CONFIG = "/etc/slm-copilot/haproxy.cfg"


def run(operator: Operator, **variables: object) -> Run:
    """Runs the role."""
    return operator.run(playbook="molecule/mtls/gateway.yml", **variables)


def worker(server: Host) -> str:
    return server.check_output(f"systemctl show --property=ExecReload {UNIT} | grep -o 'start_time=\\[[^]]*' | tail -1")


def test_it_is_not_root_and_its_sandbox_is_tight(server: Host) -> None:
    pids = server.check_output(f"cat /sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs 2>/dev/null || pidof haproxy").split()
    uid = str(server.user("slm-copilot-gateway").uid)
    assert pids
    for pid in pids:
        status = server.check_output(f"cat /proc/{pid}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) == {uid}
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    overall = server.check_output(f"systemd-analyze security {UNIT} | tail -1")
    assert float(overall.split(f"{UNIT}:")[1].split()[0]) < 2.0


def test_the_packages_own_service_never_ran(server: Host) -> None:
    assert server.run("systemctl is-active haproxy").stdout.strip() == "inactive"
    assert server.check_output("journalctl --unit=haproxy --no-pager --quiet") == ""


def test_a_run_that_was_cut_off_before_the_reload_is_made_good(operator: Operator, server: Host) -> None:
    before = worker(server)
    server.check_output(f"touch {CONFIG}")  # as new as if a run had just written it
    assert run(operator).changed("mtls-1") == 1, "the reload is the one change"
    after = worker(server)
    assert after != before
    assert run(operator).changed("mtls-1") == 0
    assert worker(server) == after


def test_a_port_that_is_taken_is_named(operator: Operator, server: Host) -> None:
    listener = "import socket, time; s = socket.create_server(('127.0.0.1', 8555)); time.sleep(600)"
    server.check_output("systemd-run --quiet --unit=squatter python3 -c %s", listener)
    said = " ".join(run(operator, gateway_metrics_port=8555).output.split())
    server.check_output("systemctl stop squatter")
    assert "HAProxy could not be restarted" in said
    assert "cannot bind socket (Address already in use) for [127.0.0.1:8555]" in said
    assert run(operator).status == 0
    assert server.run(f"systemctl is-active {UNIT}").stdout.strip() == "active"
