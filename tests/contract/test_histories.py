# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Histories of agents at the real engine, with the chat templates of its own source: which it refuses as they are, and that it takes
them once they are rewritten. The table in docs/histories.md says the same of each template that is listed there."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CACHE, CHECKOUT
from rig import BACKEND_KEY, ROUTER, Llama

sys.path[:0] = [str(ROUTER), str(CHECKOUT / "tests/unit/router")]

from agent_histories import HISTORIES, body
from copilot_router.histories import NOT_RUN, Needs, Rewritten, needs_of, probes, rewrite

DOCS = CHECKOUT / "docs/histories.md"
ROW = re.compile(r"^\| `(?P<template>[^`]+)` \|", re.MULTILINE)
LISTED = [row["template"] for row in ROW.finditer(DOCS.read_text())]
# What these templates do not show, rewritten or not: text beside a call.
MISTRAL_NEMO = "mistralai-Mistral-Nemo-Instruct-2407"
MINISTRAL = "mistralai-Ministral-3-14B-Reasoning-2512"


@pytest.fixture(scope="session")
def templates() -> Path:
    """The folder of templates in llama.cpp's source, out of the archive that the engine is compiled from."""
    pins = yaml.safe_load((CHECKOUT / "roles/llama_cpp_build/defaults/main.yml").read_text())
    target = CACHE / "templates" / str(pins["llama_cpp_build_sha256"])[:12]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            work = Path(directory)
            pin = f"llama-cpp-python=={pins['llama_cpp_build_version']} --hash=sha256:{pins['llama_cpp_build_sha256']}\n"
            (work / "pinned.txt").write_text(pin)
            options = ["--quiet", "--require-hashes", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(work)]
            subprocess.run([sys.executable, "-m", "pip", "download", *options, "-r", work / "pinned.txt"], check=True)
            with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
                inside = [one for one in archive.getmembers() if "/vendor/llama.cpp/models/templates/" in one.name]
                archive.extractall(work, inside, filter="data")
            with suppress(OSError):  # another run was faster
                os.rename(next(work.glob("*/vendor/llama.cpp/models/templates")), target)
    return target


class Engine(Llama):
    """A llama-server with a chat template, or the model's own."""

    def __init__(self, engine: Path, model: Path, work: Path, template: Path | None) -> None:
        super().__init__(engine, model, work, context=512)
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
    words = ["of ".join((name, "")) if False else name.replace("_", " ") for name in flags]
    words += [f"{name.replace('_', ' ')}: {' '.join(sorted(kinds))}" for name in ("text_only", "arguments") if (kinds := getattr(needs, name))]
    return f"| `{template}` | {refused[0]} | {refused[1]} | {'yes' if needs.tools else 'no'} | {', '.join(words)} |"


def texts(messages: list[dict[str, Any]]) -> list[str]:
    contents = [one.get("content") or "" for one in messages]
    return [text for one in contents for text in ([one] if isinstance(one, str) else [part["text"] for part in one]) if text]


def check(server: Engine, needs: Needs) -> None:
    """All histories are taken, what is said in them is in the prompt, and a longer one's prompt begins as the shorter one's."""
    for name, messages in HISTORIES.items():
        rewritten: Rewritten = rewrite(body(messages), needs)
        prompt = server.prompt(rewritten.body)
        assert prompt is not None, (name, server.ask("/apply-template", rewritten.body), rewritten)
        spoken = [one for one in messages if not (one.get("tool_calls") and one.get("content"))]  # some show no text beside a call
        for text in texts(spoken):
            assert text in prompt, (name, text, prompt)


@pytest.mark.parametrize("template", LISTED)
def test_every_history_is_taken_and_the_table_says_what_was_refused(
    engine: Path, model: Path, templates: Path, tmp_path: Path, template: str
) -> None:
    with serving(engine, model, tmp_path, templates / f"{template}.jinja") as server:
        needs = server.needs()
        check(server, needs)
        expected = row(template, server, needs)
    assert expected in DOCS.read_text().splitlines(), f"docs/histories.md should say\n{expected}"
