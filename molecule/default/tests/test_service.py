# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service: what runs, as whom, and what happens when it dies."""

from __future__ import annotations

import json
import time

from ansible_collections.slm.copilot.plugins.module_utils._host.cpu import parse_loaded_variant
from conftest import Client
from testinfra.host import Host

UNIT = "slm-copilot.service"


def main_pid(server: Host) -> int:
    return int(server.check_output(f"systemctl show --property=MainPID --value {UNIT}"))


def test_it_runs_and_starts_at_boot(server: Host) -> None:
    assert server.service("slm-copilot").is_running
    assert server.service("slm-copilot").is_enabled
    assert server.check_output("systemctl is-system-running") == "running"


def test_it_is_not_root(server: Host) -> None:
    status = server.check_output(f"cat /proc/{main_pid(server)}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert server.user("slm-copilot").uid == int(fields["Uid"].split()[0]) != 0
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


def test_the_sandbox_is_tight(server: Host) -> None:
    report = json.loads(server.check_output(f"systemd-analyze security --json=short {UNIT}") or "[]")
    assert report, "systemd-analyze lists what it looked at"
    overall = server.check_output(f"systemd-analyze security {UNIT} | tail -1")
    assert float(overall.split("slm-copilot.service:")[1].split()[0]) < 2.0


def mount_options(mountinfo: str, path: str) -> tuple[str, list[str]]:
    """Returns the file system and the options of the mount that a path is on."""
    mounts = [line.split() for line in mountinfo.splitlines()]
    below = [fields for fields in mounts if (path + "/").startswith(fields[4].rstrip("/") + "/")]
    # The last mount over the longest prefix is the one that is seen.
    best = max(enumerate(below), key=lambda entry: (len(entry[1][4]), entry[0]))[1]
    return best[best.index("-") + 1], best[5].split(",")


def test_the_sandbox_holds(server: Host) -> None:
    """The service sees a file system that it cannot write to, and no homes."""
    mountinfo = server.check_output(f"cat /proc/{main_pid(server)}/mountinfo")
    for path in ("/", "/opt/slm-copilot", "/var/lib/slm-copilot/models", "/etc/slm-copilot", "/sys/fs/cgroup"):
        assert "ro" in mount_options(mountinfo, path)[1], path
    assert mount_options(mountinfo, "/root")[0] == "tmpfs" or "ro" in mount_options(mountinfo, "/root")[1]
    assert "rw" in mount_options(mountinfo, "/tmp")[1], "its own /tmp is the one place to write to"


def test_the_variant_that_cpu_info_predicts_is_the_one_that_runs(server: Host) -> None:
    # llama-server says it at a verbosity at which it logs prompts, too; llama-bench always does.
    said = server.run("/opt/slm-copilot/llama.cpp/current/bin/llama-bench --list-devices")
    report = json.loads(server.check_output("cat /etc/slm-copilot/report.json"))
    assert parse_loaded_variant(said.stdout + said.stderr) == report["cpu_variant"]


def test_the_name_of_the_model_is_its_catalogue_id(key: str) -> None:
    models = Client(key).request("GET", "/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["devstral-small-2"]


def test_it_comes_back_after_a_crash(server: Host, key: str) -> None:
    before = main_pid(server)
    server.check_output(f"kill -KILL {before}")
    deadline = time.monotonic() + 60
    while server.run(f"systemctl is-active {UNIT}").stdout.strip() != "active" or main_pid(server) == before:
        assert time.monotonic() < deadline, "systemd did not start it again"
        time.sleep(0.5)
    # The start counts once the model answers, so the very first request is served.
    assert Client(key).chat().status == 200


def test_a_restart_does_not_wait_for_answers_that_will_never_go_on(server: Host, key: str) -> None:
    answer = Client(key).streaming(max_tokens=30000, ignore_eos=True)
    next(answer)
    asked = time.monotonic()
    server.check_output(f"systemctl restart {UNIT}")
    assert time.monotonic() - asked < 60, "llama-server alone would wait for the client for ever"
    assert Client(key).chat().status == 200
    answer.close()


def test_nothing_of_the_build_is_left(server: Host) -> None:
    for package in ("cmake", "g++", "ninja-build", "libssl-dev"):
        assert not server.package(package).is_installed
    assert server.check_output("find /var/cache/slm-copilot/llama.cpp -mindepth 1") == ""


def test_the_engine_says_where_it_came_from(server: Host) -> None:
    manifest = json.loads(server.check_output("cat /opt/slm-copilot/llama.cpp/current/manifest.json"))
    assert manifest["source"]["version"] == "0.3.36"
    assert manifest["options"]["GGML_CPU_ALL_VARIANTS"] == "ON"
    assert "bin/llama-server" in manifest["files"]


def test_the_login_greets_without_the_key(server: Host, key: str) -> None:
    greeting = server.check_output("cat /etc/motd.d/slm-copilot")
    assert "https://10.89.78.11:8443/v1" in greeting or "https://copilot-default:8443/v1" in greeting
    assert key not in greeting
