# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds the memory plan against what the real llama-server allocates, and against its resident memory.

The models have real architectures, tens to hundreds of MiB, and zeros for weights: sizes are all that counts here.
SLM_COPILOT_MEMORY_TABLE names a file for the measured rows of docs/memory.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._model import gguf as _gguf
from ansible_collections.slm.copilot.plugins.module_utils._model.memory import plan as memory
from ansible_collections.slm.copilot.plugins.module_utils._model.memory.layers import PROGRAM_BYTES
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import SPECULATION
from ansible_collections.slm.copilot.tests.unit.fixtures.gguf import measured, models
from rig import free_port, wait_for
from router_rig import EngineOnSocket

MIB = 1 << 20
CLOSE = 0.05
PROMPT = 128  # tokens; enough for a checkpoint
BUFFER = re.compile(r"(model|KV|RS|compute|output) buffer size =\s+([\d.]+) MiB")
CHECKPOINT = re.compile(r"created context checkpoint \d+ of \d+ .*size = ([\d.]+) MiB")


@dataclass
class Measured:
    """What a server allocated, in MiB: the buffers that it logged, its checkpoints, and what is resident in the end."""

    buffers: dict[str, float] = field(default_factory=dict)
    checkpoints: list[float] = field(default_factory=list)
    rss: float = 0
    pss: float = 0
    anonymous: float = 0
    repacked: bool = False


def run(engine: Path, model: Path, settings: dict[str, Any], log: Path, draft: Path | None = None) -> Measured:
    port = free_port()
    command = [
        *(str(engine / "bin/llama-server"), "--model", str(model), "--host", "127.0.0.1", "--port", str(port)),
        *("--ctx-size", str(settings["context_size"] * settings["slots"]), "--parallel", str(settings["slots"])),
        *("--cache-type-k", settings.get("cache_type_k", "f16"), "--cache-type-v", settings.get("cache_type_v", "f16")),
        *("--flash-attn", settings.get("flash_attention", "auto"), "--cache-ram", "0", "--fit", "off", "--no-warmup"),
        *("--ctx-checkpoints", str(settings["context_checkpoints"]), "--log-verbosity", "5", "--threads", "2"),
        *(["--spec-type", settings["speculation"]] if "speculation" in settings else []),
        *(["--model-draft", str(draft)] if draft else []),
    ]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait_for(f"llama-server with {model.name} is ready", lambda: ready(server, port, log))
        ask(port, [5] * PROMPT)
        resident = Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    finally:
        server.kill()
        server.wait()
    text = log.read_text(errors="replace")
    buffers: dict[str, float] = {}
    for kind, size in BUFFER.findall(text):
        buffers[kind] = buffers.get(kind, 0) + float(size)
    kib = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", resident, re.MULTILINE)}
    return Measured(
        buffers=buffers,
        checkpoints=[float(size) for size in CHECKPOINT.findall(text)],
        rss=kib["Rss"] / 1024,
        pss=kib["Pss"] / 1024,
        anonymous=kib["Anonymous"] / 1024,
        repacked="CPU_REPACK model buffer" in text,
    )


def ready(server: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert server.poll() is None, log.read_text(errors="replace")[-2000:]
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def ask(port: int, prompt: list[int]) -> None:
    body = json.dumps({"prompt": prompt, "n_predict": 1}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        json.load(answer)


def note(name: str, mib: dict[str, float], found: Measured) -> None:
    """A row of the table in docs/memory.md."""
    target = os.environ.get("SLM_COPILOT_MEMORY_TABLE")
    if not target:
        return
    pairs = [("model", "weights"), ("KV", "kv_cache"), ("RS", "recurrent_state"), ("compute", "compute")]
    cells = [f"{mib[part]:.1f} / {found.buffers.get(kind, 0):.1f}" for kind, part in pairs]
    with Path(target).open("a") as table:
        table.write(f"| {measured.TITLES[name]} | {' | '.join(cells)} | {mib['total']:.0f} / {found.rss:.0f} |\n")


def test_the_prompt_cache_stays_below_its_limit(engine: Path, model: Path, tmp_path: Path) -> None:
    """The plan counts that limit, whatever prompts there are: some that fit, and each of the others larger than all of it."""
    llama = EngineOnSocket(engine, model, tmp_path, slots=1, context=4096, options=["--cache-ram", "1"])
    llama.start()
    try:
        after = []
        for number, tokens in enumerate([3000] + [500] * 4 + [3000] * 6):
            prompt = [1000 + number] * tokens  # each another one, of about 1 KiB a token
            assert llama.direct.request("POST", "/completion", {"prompt": prompt, "n_predict": 1}).status == 200
            assert llama.process is not None
            resident = Path(f"/proc/{llama.process.pid}/smaps_rollup").read_text()
            after.append(int(re.findall(r"^Anonymous:\s+(\d+) kB", resident, re.MULTILINE)[0]) / 1024)
    finally:
        llama.kill()
    assert after[-1] - after[0] < 1 + 5, f"a megabyte, and what the allocator keeps: {after}"


@pytest.mark.parametrize("name", measured.SHAPES)
def test_the_plan_is_what_the_server_allocates(engine: Path, tmp_path: Path, name: str) -> None:
    model = models.write(tmp_path / f"{name}.gguf", *measured.model(name))
    gguf = _gguf.check(str(model))
    settings = measured.settings(name)
    plan = memory.plan(gguf, host_memory_mib=1 << 20, reserve_mib=0, **settings)
    mib = {part: size / MIB for part, size in plan["bytes"].items()}
    found = run(engine, model, settings, tmp_path / "log")

    # The repacked copy takes the place of pages of the file, which the kernel may drop: weights count once.
    mapped = found.buffers["model"] if not found.repacked else float(gguf["tensor_bytes"]) / MIB
    assert mib["weights"] == pytest.approx(mapped, rel=CLOSE)
    assert mib["kv_cache"] == pytest.approx(found.buffers.get("KV", 0), rel=CLOSE)
    assert mib["recurrent_state"] == pytest.approx(found.buffers.get("RS", 0), rel=CLOSE, abs=0.01)
    guessed = (
        4 * gguf["vocab_size"] * settings["slots"] * SPECULATION.get(settings.get("speculation", "off"), 0)
    )  # copied once something is
    compute = mib["compute"] - (PROGRAM_BYTES + guessed) / MIB
    logged = found.buffers["compute"] + found.buffers.get("output", 0)
    assert logged - 1 <= compute <= 1.25 * logged, "an upper bound for the buffers, and no waste"

    if settings["context_checkpoints"]:
        most = max(found.checkpoints, default=0)
        assert most > 0
        assert mib["checkpoints"] >= 0.99 * most * settings["slots"] * settings["context_checkpoints"], "the log is rounded"
    else:
        assert found.checkpoints == []

    # Resident is less than planned, for the plan counts the whole context, and more than what the plan says is held.
    held = mib["kv_cache"] + mib["recurrent_state"]
    resident = found.rss if not found.repacked else found.anonymous
    assert held + (0 if found.repacked else mib["weights"]) * (1 - CLOSE) <= resident <= mib["total"]
    note(name, {**mib, "compute": compute}, found)


@pytest.mark.parametrize("name", measured.DRAFTS)
def test_what_drafts_is_planned(engine: Path, tmp_path: Path, name: str) -> None:
    shape, speculation = measured.DRAFTS[name]
    model = models.write(tmp_path / "model.gguf", *measured.with_words(*shape))
    gguf, draft = _gguf.check(str(model)), None
    if "draft-simple" in speculation:
        draft = models.write(tmp_path / "draft.gguf", *measured.model("guesses"))
        assert _gguf.tokenizer_problem(str(model), str(draft)) == ""
        gguf["draft"] = _gguf.check(str(draft))
    settings = {**measured.COMMON, "speculation": speculation}
    plan = memory.plan(gguf, host_memory_mib=1 << 20, reserve_mib=0, **settings)
    without = memory.plan(gguf, host_memory_mib=1 << 20, reserve_mib=0, **measured.COMMON)
    found = run(engine, model, settings, tmp_path / "log", draft)
    plain = run(engine, model, measured.COMMON, tmp_path / "log")
    assert "draft" in name or gguf["draft_layers"] == 1
    more = sum(found.buffers.values()) - sum(plain.buffers.values())
    planned = (plan["bytes"]["total"] - without["bytes"]["total"]) / MIB
    assert more - 1 <= planned <= 1.25 * more + PROGRAM_BYTES / MIB, (found.buffers, plain.buffers, plan["mib"])
