# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the module speaks to HAProxy's master process, which is a stand-in. With the real one: tests/contract."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.gateway_map import Worker
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.modules import gateway_keys

KEYS = [("a" * 64, "developer/alice/0")]
ANSWERS = {"prompt": "", "show proc": "12   worker  0\n", "@!12 show map /keys.map": f"0x1 {KEYS[0][0]} {KEYS[0][1]}\n"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANSWER_SECONDS", "RELOAD_SECONDS", "START_SECONDS"):
        monkeypatch.setattr(gateway_keys, name, 0.5)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Callable[[list[str]], str]]:
    """Starts one that answers, cuts a connection, or is mute, as a word for each says. The last holds for all later ones."""
    listener = socket.socket(socket.AF_UNIX)

    def serve(words: list[str]) -> None:
        for number in range(100):
            try:
                client, _address = listener.accept()
            except OSError:
                return
            word = words[min(number, len(words) - 1)]
            with client, client.makefile("rw") as lines:
                for line in lines if word != "cuts" else ():
                    if word == "answers":
                        lines.write(f"{ANSWERS[line.strip()]}\nmaster> ")
                        lines.flush()

    def start(words: list[str]) -> str:
        listener.bind(str(tmp_path / "master.sock"))
        listener.listen()
        threading.Thread(target=serve, args=[words], daemon=True).start()
        return str(tmp_path / "master.sock")

    yield start
    listener.close()


def test_it_answers(master: Callable[[list[str]], str]) -> None:
    assert gateway_keys.in_all_workers(master(["answers"]), "/keys.map", KEYS, True) == [Worker(12, KEYS)]


def test_one_that_reads_its_configuration_anew_is_asked_again(master: Callable[[list[str]], str]) -> None:
    assert gateway_keys.in_all_workers(master(["cuts", "answers"]), "/keys.map", KEYS, True) == [Worker(12, KEYS)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param("mute", "a revoked key may still work", id="mute"),
        pytest.param("cuts", "kept closing the connection", id="breaks-off"),
    ],
)
def test_one_that_never_answers_is_no_success(master: Callable[[list[str]], str], word: str, expected: str) -> None:
    with pytest.raises(CopilotError, match=expected):
        gateway_keys.in_all_workers(master([word]), "/keys.map", KEYS, True)


def test_one_that_starts_just_now_is_awaited(tmp_path: Path, master: Callable[[list[str]], str]) -> None:
    late = threading.Timer(0.2, master, args=[["answers"]])
    late.start()
    assert gateway_keys.in_all_workers(str(tmp_path / "master.sock"), "/keys.map", KEYS, True) == [Worker(12, KEYS)]


@pytest.mark.parametrize("folder", ["", "none/"])
def test_where_none_runs_there_are_no_workers(tmp_path: Path, folder: str) -> None:
    assert gateway_keys.in_all_workers(str(tmp_path / f"{folder}master.sock"), "/keys.map", KEYS, True) == []
