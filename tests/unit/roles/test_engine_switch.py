# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host does with a change that is not well. The scenario zones does it with systemd and a real engine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[3] / "roles/llama_server/files/engine_switch.py"
SPECIFICATION = importlib.util.spec_from_file_location("engine_switch", FILE)
assert SPECIFICATION and SPECIFICATION.loader
engine_switch = sys.modules["engine_switch"] = importlib.util.module_from_spec(SPECIFICATION)  # where dataclasses look it up
SPECIFICATION.loader.exec_module(engine_switch)
OLD, NEW = "--model /models/a.gguf --threads 4\n", "--model /models/a.gguf --threads 2\n"


class Host:
    """A host on which v1 serves with OLD, and v2 with NEW is to come."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unit, self.presets, self.link = top / "server.service", top / "models.ini", top / "engine/current"
        self.folder, self.record = top / "kept", top / "installed.json"
        for version in ("v1", "v2", "v3"):
            (top / "engine" / version).mkdir(parents=True)
        self.record.write_text(json.dumps({"paths": {str(self.unit): "file of before"}}))
        self.starts = {"v1": True, "v2": True, "v3": True}
        self.speeds = {"v1": 10.0, "v2": 10.0, "v3": 10.0}
        self.able = {version: {"answers", "streams", "calls tools"} for version in self.starts}
        self.likely = {version: {1, 2, 3} for version in self.starts}
        self.running, self.commands, self.timer = "", [], True
        self.memory_max = ""
        self.during = lambda: None
        monkeypatch.setattr(engine_switch, "run", self.run)
        monkeypatch.setattr(engine_switch.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(engine_switch.Engine, "speed", lambda _self: self.speed())
        monkeypatch.setattr(engine_switch.Engine, "able", lambda _self, _tokens, _wanted=None: self.able[self.running])
        monkeypatch.setattr(engine_switch.Engine, "likely", lambda _self: self.likely[self.running])
        self.set("v1", OLD)
        assert self("switch") == 0

    def set(self, version: str, unit: str) -> None:
        self.unit.write_text(unit)
        engine_switch.Path(self.link).unlink(missing_ok=True)
        self.link.symlink_to(version)

    def run(self, *command: str) -> tuple[int, str]:
        self.commands.append(" ".join(command))
        if command[:2] == ("systemctl", "restart"):
            self.running = self.link.readlink().name
            self.during()
            return (0 if self.starts[self.running] else 1), ""
        if command[:2] == ("systemctl", "enable") and command[-1] == "back.timer":
            return (0 if self.timer else 1), ""
        if command[:2] == ("systemctl", "show"):
            shown = {"--property=MemoryMax": self.memory_max, "--property=MainPID": str(os.getpid())}
            return 0, f"{shown[command[2]]}\n"
        return 0, ""

    def speed(self) -> dict[str, float]:
        return dict.fromkeys(engine_switch.SPEEDS, self.speeds[self.running])

    @property
    def serves(self) -> tuple[str, str, str]:
        return self.running, self.link.readlink().name, self.unit.read_text()

    @property
    def armed(self) -> bool:
        return (self.folder / "armed.json").exists()

    def __call__(self, what: str, *options: str) -> int:
        sys.argv = [
            *("engine_switch.py", what, "--folder", str(self.folder), "--record", str(self.record), "--unit", str(self.unit)),
            *("--presets", str(self.presets), "--engine", str(self.link), "--socket", "none", "--timer", "back.timer", *options),
        ]
        return int(engine_switch.main())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_change_that_is_well_stays(host: Host) -> None:
    host.set("v2", NEW)
    host.during = lambda: host.commands.append(f"armed {host.armed}")
    assert host("switch") == 0
    assert host.serves == ("v2", "v2", NEW)
    assert ("armed True" in host.commands, host.armed) == (True, False)


@pytest.mark.parametrize("fault", ["it does not start", "it is more than 30 % slower (prompts 5.0 instead of 10.0 tokens/s"])
def test_what_is_not_well_is_undone_and_refused(host: Host, capsys: Any, fault: str) -> None:
    host.starts["v2"], host.speeds["v2"] = "start" not in fault, 5.0
    host.set("v2", NEW)
    assert host("switch") == 1
    assert fault in capsys.readouterr().err
    assert (host.serves, host.armed) == (("v1", "v1", OLD), False)
    assert json.loads(host.record.read_text())["paths"][str(host.unit)].startswith("file ")

    host.set("v2", NEW)
    before = len(host.commands)
    assert host("switch") == 1
    assert "it was rolled back before: it" in capsys.readouterr().err
    assert (host.serves, host.commands[before:]) == (("v1", "v1", OLD), []), "nothing is restarted"

    host.set("v2", NEW)
    assert host("switch", "--force", "--slowdown", "60") == (1 if "start" in fault else 0)
    host.set("v3", NEW)
    assert host("switch", "--slowdown", "60") == 0, "another version is another change"


@pytest.mark.parametrize(("limit", "well"), [("infinity", True), (str(1 << 40), True), (str(1 << 20), False)])
def test_what_takes_more_memory_than_planned_is_undone(host: Host, capsys: Any, limit: str, well: bool) -> None:
    host.set("v2", NEW)
    host.memory_max = limit
    assert (host("switch") == 0) is well
    assert host.serves == (("v2", "v2", NEW) if well else ("v1", "v1", OLD))
    assert well or re.search(r"it takes \d+ MiB of memory, and the memory plan allows 1 MiB", capsys.readouterr().err)


def test_memory_counts_what_a_process_started() -> None:
    """As llama-server with several models, which starts a process for each."""
    filled = "import sys; held = bytearray(b'x' * (200 << 20)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", filled], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        found = engine_switch.processes(os.getpid())
        assert {os.getpid(), child.pid} <= {*found}
        assert 200 << 20 <= engine_switch.anonymous(child.pid) < 300 << 20
        child.communicate()


def test_without_the_timer_nothing_is_begun(host: Host, capsys: Any) -> None:
    host.timer = False
    host.set("v2", NEW)
    assert host("switch") == 1
    assert "the rollback timer back.timer does not start" in capsys.readouterr().err
    assert (host.serves, host.armed) == (("v1", "v1", OLD), False)
    host.timer = True
    host.set("v2", NEW)
    assert host("switch") == 0, "it is not refused"


def test_one_quick_answer_is_enough(host: Host) -> None:
    """Since other work on the host slows some."""
    speeds = iter([10.0, 10.0, 10.0, 2.0, 3.0, 9.0])
    host.speed = lambda: dict.fromkeys(engine_switch.SPEEDS, next(speeds))  # type: ignore[method-assign]
    host.set("v2", NEW)
    assert host("switch") == 0


@pytest.mark.parametrize(
    ("able", "likely", "fault"),
    [
        pytest.param({"answers", "calls tools"}, {1, 2, 3}, "it no longer streams", id="no stream"),
        pytest.param({"answers", "streams"}, {1, 2, 3}, "it no longer calls tools", id="no tools"),
        pytest.param(set(), {1, 2, 3}, "it no longer answers or calls tools or streams", id="nothing"),
        pytest.param({"answers", "streams", "calls tools"}, {7, 8, 9}, "its answers make no sense", id="nonsense"),
        pytest.param({"answers", "streams", "calls tools"}, set(), "its answers make no sense", id="no numbers"),
    ],
)
def test_what_answers_otherwise_is_undone(host: Host, capsys: Any, able: set[str], likely: set[int], fault: str) -> None:
    host.able["v2"], host.likely["v2"] = able, likely
    host.set("v2", NEW)
    assert host("switch") == 1
    assert fault in capsys.readouterr().err
    assert (host.serves, host.armed) == (("v1", "v1", OLD), False)


def test_what_it_could_not_do_before_is_not_asked_for(host: Host) -> None:
    host.able["v1"], host.likely["v1"] = {"answers"}, set()
    host.able["v2"], host.likely["v2"] = {"answers"}, {7}
    host.set("v2", NEW)
    assert host("switch") == 0


def test_other_numbers_of_the_same_model_are_no_nonsense(host: Host) -> None:
    """Other kernels round differently, and a cache of fewer bits more so."""
    host.likely["v2"] = {3, 4, 5}
    host.set("v2", NEW)
    assert host("switch") == 0


def test_another_model_is_not_compared(host: Host) -> None:
    host.speeds["v2"], host.able["v2"], host.likely["v2"] = 1.0, set(), {9}
    host.set("v2", NEW.replace("a.gguf", "b.gguf"))
    assert host("switch") == 0


@pytest.mark.parametrize(("speed", "well"), [(5.0, False), (8.0, True)])
def test_another_model_is_compared_with_what_is_expected_of_it(host: Host, capsys: Any, speed: float, well: bool) -> None:
    host.speeds["v2"] = speed
    host.set("v2", NEW.replace("a.gguf", "b.gguf"))
    assert host("switch", "--expected", "10.0", "7.5") == int(not well)
    said = (
        "30 % slower than expected of this model on this host (prompts 5.0 instead of 10.0 tokens/s, answers 5.0 instead of 7.5"
    )
    assert (said in capsys.readouterr().err) != well


def test_the_same_model_is_compared_with_itself(host: Host) -> None:
    host.set("v2", NEW)
    assert host("switch", "--expected", "100.0", "100.0") == 0


def test_a_change_that_nobody_finished_is_undone_when_its_time_is_over(host: Host) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    host.set("v2", NEW)
    host.during = die
    with pytest.raises(Killed):
        host("switch", "--seconds", "60")
    host.during = lambda: None
    assert host.armed and host("expire") == 0 and host.running == "v2", "not yet"
    (host.folder / "armed.json").write_text(json.dumps({"until": time.time() - 1}))
    assert host("expire") == 0
    assert (host.serves, host.armed) == (("v1", "v1", OLD), False)
    assert host("expire") == 0, "twice is no error"


def test_of_gate_and_timer_the_second_does_nothing(host: Host, capsys: Any) -> None:
    def overdue() -> None:
        host.during = lambda: None
        (host.folder / "armed.json").write_text(json.dumps({"until": 0}))
        arguments = sys.argv
        assert host("expire") == 0
        sys.argv = arguments

    host.set("v2", NEW)
    host.during = overdue
    assert host("switch") == 1
    assert "it took too long" in capsys.readouterr().err
    assert host.serves == ("v1", "v1", OLD)


def test_what_an_earlier_run_rolled_back_meanwhile_is_told(host: Host, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.starts["v2"] = False
    host.set("v2", NEW)
    assert host("switch") == 1
    monkeypatch.setenv("COPILOT_RESTART_SINCE", str(time.time() - 60))
    capsys.readouterr()
    assert host("switch") == 1
    assert "an earlier run rolled this change back: it does not start" in capsys.readouterr().err
    assert host.serves == ("v1", "v1", OLD)
    monkeypatch.setenv("COPILOT_RESTART_SINCE", str(time.time() + 60))
    assert host("switch") == 0, "a later restart of the version that stayed"


def test_what_is_not_begun_leaves_on_the_disk_what_serves(host: Host) -> None:
    """Or a host that goes down by chance would begin it by itself."""
    host.set("v2", NEW)
    assert host("leave") == 0
    assert host.serves == ("v1", "v1", OLD)
    host.set("v2", NEW)
    assert host("switch") == 0, "it is not refused"


def test_back_to_the_version_before_and_not_forward_again(host: Host, capsys: Any) -> None:
    assert host("back") == 1
    assert "there is no previous version" in capsys.readouterr().err
    host.set("v2", NEW)
    assert host("switch") == 0
    assert host("back") == 0
    assert host.serves == ("v1", "v1", OLD)
    host.set("v2", NEW)
    assert host("switch") == 1
    assert host.serves == ("v1", "v1", OLD)
    host.set("v2", NEW)
    assert host("switch", "--force") == 0
    assert host.serves == ("v2", "v2", NEW)


def test_a_version_that_was_removed_cannot_be_brought_back(host: Host) -> None:
    host.set("v2", NEW)
    assert host("switch") == 0
    (host.link.parent / "v1").rmdir()
    assert host("back") == 1


def test_the_first_start_of_all_has_nothing_to_go_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "__call__", lambda *_: 0)
    host = Host(tmp_path, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr(engine_switch, "run", host.run)
    host.starts["v1"] = False
    assert host("switch") == 1
    assert host.serves == ("v1", "v1", OLD)


SAVES = " --slot-save-path /run/slots\n"


@pytest.fixture
def conversations(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What becomes of conversations, among the host's commands."""
    keeping = engine_switch.Conversations
    monkeypatch.setattr(keeping, "save", lambda _self, _paths: host.commands.append("save"))
    monkeypatch.setattr(keeping, "restore", lambda _self: host.commands.append("restore"))
    host.set("v1", OLD.rstrip() + SAVES)
    assert host("switch") == 0
    host.commands.clear()
    return host.commands


@pytest.mark.parametrize("speed", [10.0, 5.0])
def test_conversations_are_saved_first_and_restored_last(host: Host, conversations: list[str], speed: float) -> None:
    """With the version that stays."""
    host.set("v2", NEW.rstrip() + SAVES)
    host.speeds["v2"] = speed
    assert host("switch") == int(speed < 10)
    assert (conversations[0], conversations[-1]) == ("save", "restore")


def test_a_restart_keeps_them_too(host: Host, conversations: list[str]) -> None:
    assert host("switch") == 0
    assert (conversations[0], conversations[-1]) == ("save", "restore")


@pytest.mark.parametrize(
    "unit", [OLD.rstrip().replace("a.gguf", "b.gguf") + SAVES, f"{OLD.rstrip()} --cache-type-k q8_0{SAVES}", OLD]
)
def test_another_model_or_cache_would_not_understand_them(host: Host, conversations: list[str], unit: str) -> None:
    host.set("v2", unit)
    assert host("switch") == 0
    assert "save" not in conversations
