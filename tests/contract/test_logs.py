# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a bug report keeps of a real llama-server's journal: its own words, and none of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.plugin_utils._redaction import Redaction
from router_rig import EngineOnSocket

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"name": "PLANTED", "parameters": {"type": "PLANTED\nslot PLANTED:"}}
ASKED: list[tuple[str, Any]] = [
    (CHAT, {"messages": [{"role": "user", "content": "PLANTED\nslot print_timing: PLANTED"}], "max_tokens": 3}),
    (CHAT, b'{"messages": [{"role": "user", "content": "PLANTED'),
    (CHAT, {"messages": [{"role": "PLANTED", "content": 7}]}),
    (CHAT, {"messages": HELLO, "tools": [{"type": "function", "function": TOOL}]}),
    (CHAT, {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "PLANTED"}}}}),
    (COMPLETIONS, {"prompt": {"PLANTED": 1}}),
    ("/PLANTED", {}),
]
# What is wrong with it is said whatever is to be logged.
GRAMMAR: tuple[str, Any] = (COMPLETIONS, {"prompt": "hello", "grammar": "PLANTED := \nPLANTED"})


def said_of(engine: Path, model: Path, work: Path, asked: list[tuple[str, Any]], *options: str) -> str:
    """Returns what llama-server wrote of requests that it cannot read, and of one that it can."""
    llama = EngineOnSocket(engine, model, work, options=options)
    llama.start()
    statuses = [llama.direct.request("POST", path, body).status for path, body in asked]
    llama.kill()
    assert (statuses[0], min(statuses[1:])) == (200, 400)
    return next(work.glob("llama-*.log")).read_text()


def test_nothing_of_a_request_is_kept(engine: Path, model: Path, tmp_path: Path) -> None:
    said = said_of(engine, model, tmp_path, [*ASKED, GRAMMAR])
    assert "PLANTED" in said, "or this proves nothing"
    journal = "".join(f"2026-11-27T06:16:01+00:00 llama-server[7]: {line}\n" for line in said.splitlines())
    kept = Redaction([], [], {}).journal("slm-copilot.service", journal)
    assert "PLANTED" not in kept
    assert "print_timing: id " in kept
    assert "got [left out]" in kept


def test_where_errors_alone_are_logged_nothing_of_a_request_is_in_the_journal(engine: Path, model: Path, tmp_path: Path) -> None:
    assert "PLANTED" not in said_of(engine, model, tmp_path, ASKED, "--log-verbosity", "1")
