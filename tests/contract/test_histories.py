# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories of agents at the real engine, with the chat templates of its own source.

Which does it refuse as they are? It takes all of them once they are rewritten. The table in docs/histories.md says so of each
template that is listed there.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._model.gguf import shows_tools
from conftest import CHECKOUT
from rig import BACKEND_KEY, ROUTER, Llama

sys.path[:0] = [str(ROUTER), str(CHECKOUT / "tests/unit/router")]

from agent_histories import HISTORIES, body
from copilot_router.histories import Needs, needs_of, probes, rewrite

DOCS = CHECKOUT / "docs/histories.md"
ROW = re.compile(r"^\| `(?P<template>[^`]+)` \|", re.MULTILINE)
LISTED = [row["template"] for row in ROW.finditer(DOCS.read_text())]
DEFAULT = "mistralai-Ministral-3-14B-Reasoning-2512"  # the nearest to that of the default model


class Engine(Llama):
    """A llama-server with a chat template, or the model's own."""

    def __init__(self, engine: Path, model: Path, work: Path, template: Path | None) -> None:
        super().__init__(engine, model, work, context=2048)
        self._command += ["--jinja", "--no-warmup", *(("--chat-template-file", str(template)) if template else ())]

    def ask(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {BACKEND_KEY}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(asked), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def prompt(self, asked: dict[str, Any]) -> str | None:
        """Returns the prompt that this becomes, None if it is refused."""
        status, answer = self.ask("/apply-template", asked)
        return str(answer["prompt"]) if status == 200 else None

    def needs(self) -> Needs:
        return needs_of({name: self.prompt(asked) for name, asked in probes()})


@contextmanager
def serving(engine: Path, model: Path, work: Path, template: Path | None) -> Iterator[Engine]:
    server = Engine(engine, model, work, template)
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()


def row(template: str, server: Engine, needs: Needs) -> str:
    """Returns the template's row in the table of the docs."""
    refused = [sum(server.prompt(one) is None for one in bodies) for bodies in (
        [body(one) for one in HISTORIES.values()], [rewrite(body(one), needs).body for one in HISTORIES.values()])]  # fmt: skip
    flags = [name for name in Needs.__slots__ if getattr(needs, name) is True and name != "tools"]
    words = [name.replace("_", " ") for name in flags]
    kinds = {"text only": needs.text_only, "arguments": needs.arguments}
    words += [f"{name}: {' '.join(sorted(which))}" for name, which in kinds.items() if which]
    return f"| `{template}` | {refused[0]} | {refused[1]} | {'yes' if needs.tools else 'no'} | {', '.join(words)} |"


def texts(messages: list[dict[str, Any]]) -> list[str]:
    """Returns what is said in a history, but not beside a call: some templates have no place for that."""
    contents = [one.get("content") or "" for one in messages if not one.get("tool_calls")]
    return [text for one in contents for text in ([one] if isinstance(one, str) else [part["text"] for part in one])]


def check(server: Engine, needs: Needs) -> None:
    """All histories are taken, and what is said in them is in the prompt."""
    for name, messages in HISTORIES.items():
        rewritten = rewrite(body(messages), needs)
        prompt = server.prompt(rewritten.body)
        assert prompt is not None, (name, rewritten.done, server.ask("/apply-template", rewritten.body))
        beside_a_call = "merged-assistants" in rewritten.done and name == "text-then-call"
        assert beside_a_call or not [text for text in texts(messages) if text not in prompt], (name, rewritten.done, prompt)


@pytest.mark.parametrize("template", LISTED)
def test_every_history_is_taken_and_the_table_says_what_was_refused(
    engine: Path, model: Path, templates: Path, tmp_path: Path, template: str
) -> None:
    with serving(engine, model, tmp_path, templates / f"{template}.jinja") as server:
        needs = server.needs()
        check(server, needs)
        expected = row(template, server, needs)
    assert shows_tools((templates / f"{template}.jinja").read_text()) is needs.tools, "what the file's header is read for"
    if expected not in DOCS.read_text().splitlines():
        pytest.fail(f"docs/histories.md should say\n{expected}", pytrace=False)


@pytest.mark.full
def test_every_history_is_taken_by_every_template(engine: Path, model: Path, templates: Path, tmp_path: Path) -> None:
    others = [template for template in sorted(templates.glob("*.jinja")) if template.stem not in LISTED]
    assert len(others) > 40
    for template in others:
        work = tmp_path / template.stem
        work.mkdir()
        with serving(engine, model, work, template) as server:
            check(server, server.needs())


def test_a_model_with_its_own_template_that_knows_no_tools(engine: Path, tmp_path: Path) -> None:
    model = tmp_path / "smollm2.gguf"
    subprocess.run([CHECKOUT / "tools/test-model", model, "smollm2"], check=True)
    with serving(engine, model, tmp_path, None) as server:
        needs = server.needs()
        assert needs.quote_calls and not needs.tools
        check(server, needs)


def test_answers_and_the_prompt_cache(engine: Path, model: Path, templates: Path, tmp_path: Path) -> None:
    """A history that was refused is answered, and a longer one is computed from where the shorter one ended."""
    with serving(engine, model, tmp_path, templates / f"{DEFAULT}.jinja") as server:
        needs = server.needs()
        call = HISTORIES["user-after-result"][2]
        history = [*HISTORIES["user-after-result"], call, {"role": "user", "content": "Stop that."}]
        longer = [*history, {"role": "user", "content": "Start again."}, call, HISTORIES["user-after-result"][3]]
        status, _refusal = server.ask("/v1/chat/completions", {**body(history), "max_tokens": 2})
        assert status >= 400
        used = []
        for asked in (history, longer, [*longer, {"role": "system", "content": "Mind the plan."}]):
            status, answer = server.ask("/v1/chat/completions", {**rewrite(body(asked), needs).body, "max_tokens": 2})
            assert status == 200, answer
            used.append(answer["timings"])
        for before, after in pairwise(used):
            whole = before["cache_n"] + before["prompt_n"]
            assert after["cache_n"] >= whole - 8, (before, after)  # the mark at a message's end is a few of this model's tokens
