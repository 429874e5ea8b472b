# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Conversations that survive a restart of a real llama-server, and what becomes of their states."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import Answer
from router_rig import EngineOnSocket, Router
from test_change_gate import engine_switch

SECRET = "launch-code-4711"
LONG = 900  # words of a conversation


def words(name: str) -> str:
    return f"{SECRET} " + " ".join(f"{name}{number % 89}" for number in range(LONG))


class Host:
    """A server whose two slots hold two conversations."""

    def __init__(self, engine: Path, model: Path, router_venv: Path, work: Path) -> None:
        self.slots, self.states, self.model = work / "slots", work / "states", work / "model.gguf"
        self.slots.mkdir()
        self.states.mkdir()
        self.model.symlink_to(model)
        self.engine = EngineOnSocket(engine, self.model, work, context=8192, options=("--slot-save-path", str(self.slots)))
        self.engine.start()
        self.router = Router(router_venv, self.engine, work, marks_key_file=str(work / "marks"))
        self.router.start()
        self.said = {name: [{"role": "user", "content": words(name)}] for name in "ab"}
        self.first = {name: self.turn(name) for name in self.said}

    def turn(self, name: str) -> dict[str, int]:
        """Goes on with a conversation, and returns the tokens of its prompt that were computed and cached."""
        done: Answer = self.router.admin.chat(messages=self.said[name])
        assert done.status == 200, done.text
        answer = done.json
        self.said[name] += [answer["choices"][0]["message"], {"role": "user", "content": "and then?"}]
        return {"computed": answer["timings"]["prompt_n"], "cached": answer["timings"]["cache_n"]}

    def restart(self, *, probed: bool = True) -> None:
        self.engine.kill()
        self.router.wait_state(health="down")
        self.engine.start()
        self.router.wait_state(health="ready")
        if probed:
            engine_switch.shown(engine_switch.Engine(str(self.engine.socket)))  # it takes slots for itself

    @property
    def held(self) -> list[int]:
        """Tokens of the conversations that balancers are told of."""
        return sorted(one[1] for one in self.router.state["held"]["tiny"]["held"])


@pytest.fixture(scope="module")
def host(engine: Path, model: Path, router_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    found = Host(engine, model, router_venv, tmp_path_factory.mktemp("host"))
    yield found
    found.router.stop()
    found.engine.kill()


@pytest.fixture
def kept(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What keeps its conversations."""

    def run(*command: str) -> tuple[int, str]:  # there is no systemd here
        if command[0] == "find":
            subprocess.run(command, check=True)
        return 0, ""

    monkeypatch.setattr(engine_switch, "run", run)
    monkeypatch.setattr(engine_switch, "STATES", host.states)
    asked = engine_switch.Engine(str(host.engine.socket))
    return engine_switch.Conversations(asked, str(host.slots), str(host.router.socket))


def test_conversations_go_on_as_if_nothing_had_been(host: Host, kept: Any, capsys: Any) -> None:
    held = host.held
    kept.save([str(host.model)])
    states = list(kept._saved.values())
    assert len(states) == 2
    for state in states:
        state.seek(0)
        assert SECRET.encode() not in (content := state.read()) and len(content) > 1 << 20
    assert os.listdir(host.slots) == [] and os.listdir(host.states) == [], "nothing has a name"
    host.restart()
    assert host.held == []
    kept.restore()
    assert "2 of 2 conversations were kept" in capsys.readouterr().out
    assert os.listdir(host.slots) == [] and all(state.closed for state in states)
    assert host.held == held, "balancers know it"
    for name, before in host.first.items():
        after = host.turn(name)
        assert before["computed"] > LONG and after["cached"] >= before["computed"] and after["computed"] < 100


def test_conversations_survive_a_second_restart_before_anybody_asks(host: Host, kept: Any, capsys: Any) -> None:
    held = host.held
    for _restart in range(2):
        kept.save([str(host.model)])
        host.restart(probed=False)
        kept.restore()
        assert "2 of 2 conversations were kept" in capsys.readouterr().out
    assert host.held == held
    assert all(host.turn(name)["computed"] < 100 for name in "ab")


@pytest.mark.parametrize("why", ["the model was replaced", "has no room", "python3-cryptography is missing", "not kept: "])
def test_what_cannot_be_kept_is_told(host: Host, kept: Any, monkeypatch: Any, capsys: Any, why: str) -> None:
    """Also when llama-server puts a link in place of a state, which root does not follow."""
    if "replaced" in why:
        monkeypatch.setattr(engine_switch.Engine, "older_than", lambda _engine, path: path == str(host.model))
    elif "room" in why:
        monkeypatch.setattr(engine_switch, "SPARE", 1 << 60)
    elif "missing" in why:
        monkeypatch.setattr(engine_switch, "AESGCM", None)
    else:
        link = host.slots / engine_switch.STATE
        monkeypatch.setattr(engine_switch.Engine, "slot", lambda *_asked: link.symlink_to("/etc/hostname") or 1000)
    kept.save([str(host.model)])
    assert why in capsys.readouterr().out
    assert kept._saved == {}
    kept.restore()
    assert capsys.readouterr().out == ""
    for left in host.slots.iterdir():
        left.unlink()  # the link


def test_after_an_hour_nothing_is_restored(host: Host, kept: Any, monkeypatch: Any, capsys: Any) -> None:
    kept.save([str(host.model)])
    monkeypatch.setattr(engine_switch, "KEPT_SECONDS", 0.0)
    kept.restore()
    assert "0 of 2 conversations were kept" in capsys.readouterr().out and kept._saved == {}


def test_a_model_that_is_newer_than_its_server_is_told(host: Host, tmp_path: Path) -> None:
    asked, replaced = engine_switch.Engine(str(host.engine.socket)), tmp_path / "model.gguf"
    assert not asked.older_than(str(host.model))
    replaced.write_bytes(b"")
    assert asked.older_than(str(replaced))


def test_a_state_that_was_damaged_costs_its_conversation_alone(host: Host, kept: Any, capsys: Any) -> None:
    host.turn("a"), host.turn("b")  # what was not restored is in a slot again
    kept.save([str(host.model)])
    first = next(iter(kept._saved.values()))
    first.seek(100)
    first.write(b"damaged")
    host.restart()
    kept.restore()
    assert "1 of 2 conversations were kept" in capsys.readouterr().out
    assert len(host.held) == 1


def test_a_server_that_saves_nothing_starts_cold(host: Host, kept: Any, capsys: Any) -> None:
    place = host.engine._command.index("--slot-save-path")
    del host.engine._command[place : place + 2]
    host.restart()
    assert all(host.turn(name)["computed"] > before["computed"] for name, before in host.first.items())
    kept.save([str(host.model)])
    assert "conversations are not kept: status 501" in capsys.readouterr().out
