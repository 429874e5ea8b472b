# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of systemd to stop a service for a while. That it holds on a real host is for the scenario models to show."""

from __future__ import annotations

import os

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host.interruption import guard_command, interrupted, run_command

START, STOP = "systemctl start one.service", "systemctl stop guard.service"


class Host:
    """Notes commands. Those that begin with one of ``failing`` fail."""

    def __init__(self, *failing: str, state: str = "active") -> None:
        self.failing, self.state, self.done = failing, state, []

    def __call__(self, command: list[str]) -> tuple[int, str]:
        words = " ".join(command)
        self.done.append(words)
        if words == "systemctl is-active one.service":
            return (0 if self.state == "active" else 3, self.state)
        return (1, "it broke") if words.startswith(self.failing or ("-",)) else (0, "")


def test_it_is_stopped_by_a_guard_and_started_again() -> None:
    host = Host()
    with interrupted("one.service", "guard.service", 60, host):
        assert host.done[-1].startswith("systemd-run")
    assert host.done[-2:] == [STOP, START]


def test_it_is_started_again_when_the_work_fails() -> None:
    host = Host()
    with pytest.raises(ValueError, match="the work"), interrupted("one.service", "guard.service", 60, host):
        raise ValueError("the work")
    assert host.done[-2:] == [STOP, START]


@pytest.mark.parametrize("state", ["activating", "reloading"])
def test_one_that_starts_just_now_is_stopped_as_well(state: str) -> None:
    host = Host(state=state)
    with interrupted("one.service", "guard.service", 60, host):
        assert host.done[-1].startswith("systemd-run")
    assert host.done[-2:] == [STOP, START]


@pytest.mark.parametrize("state", ["inactive", "failed", "unknown", "deactivating"])
def test_one_that_does_not_run_is_left_alone(state: str) -> None:
    host = Host(state=state)
    with interrupted("one.service", "guard.service", 60, host):
        pass
    assert len(host.done) == 1


def test_one_that_cannot_be_stopped_goes_on() -> None:
    host = Host("systemd-run")
    with (
        pytest.raises(CopilotError, match=r"one\.service cannot be stopped for the measurement, and keeps running: it broke"),
        interrupted("one.service", "guard.service", 60, host),
    ):
        pytest.fail("the work must not begin")
    assert host.done[-1] == START


def test_one_that_does_not_start_again_is_told() -> None:
    with (
        pytest.raises(CopilotError, match=r"one\.service does not start again: it broke"),
        interrupted("one.service", "guard.service", 60, Host(START)),
    ):
        pass


def test_the_guard_lives_as_long_as_this_process() -> None:
    command = guard_command("guard.service", "one.service", os.getpid(), 60)
    assert f"--pid={os.getpid()}" in command
    assert {"--property=Conflicts=one.service", "--property=After=one.service", "--property=RuntimeMaxSec=60"} <= set(command)
    assert "--property=ExecStopPost=/usr/bin/env systemctl --no-block start one.service" in command


def test_what_a_command_says() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr")
