# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of ``validate``, against the whole way in of a server whose model calls tools, or cannot.

A grammar forces the call, so that a model of random weights makes one, in the words of each template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import Report, Target, run_checks
from gateway_rig import Gateway
from router_rig import EngineOnSocket, Router

CALLS_AT_ONCE = "CohereForAI-c4ai-command-r-plus-tool_use"  # a demanded call is the first that may be said
TALKS_BEFORE = "Qwen3-Coder"
WITHOUT_TOOLS = "google-gemma-2-2b-it"
SAME = ("--temp", "0", "--seed", "1")
ENDS_SOON = ("--logit-bias", "128001+100")  # by the token that ends a text, as soon as the grammar lets it
Validated = Callable[..., Report]


@pytest.fixture(scope="module")
def validated(
    router_venv: Path,
    engine: Path,
    model: Path,
    templates: Path,
    fleet_ca: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Validated]:
    """``validated(template, *options)`` gives what the checks say of an engine with that template and these options."""
    work = tmp_path_factory.mktemp("validated")
    router = Router(router_venv, EngineOnSocket(engine, model, work), work)
    gateway = Gateway(work, fleet_ca, gateway_upstream=f"unix@{router.socket}")
    router.start()
    gateway.start()
    target = Target(f"https://127.0.0.1:{gateway.port}", gateway.developer().key or "", ca_path=str(fleet_ca[0]), chat_timeout=60)

    def check(template: str, *options: str) -> Report:
        llama = EngineOnSocket(
            engine, model, work, options=["--jinja", "--chat-template-file", f"{templates / template}.jinja", *options]
        )
        llama.start()
        try:
            router.wait_state(health="ready")
            return run_checks(target)
        finally:
            llama.kill()
            router.wait_state(health="down")

    yield check
    gateway.stop()
    router.stop()


def tools(report: Report) -> tuple[bool, bool, str]:
    """Returns what the eighth check says; the others are passed."""
    *others, last = report.checks
    assert [(one.id, one.detail) for one in others if not one.ok or one.skipped] == []
    assert last.id == "tools"
    return last.ok, last.skipped, last.detail


def test_a_tool_that_must_be_called_is_called(validated: Validated) -> None:
    assert tools(validated(CALLS_AT_ONCE, *SAME)) == (True, False, "called say")


def test_an_engine_that_reads_no_calls_fails(validated: Validated) -> None:
    ok, skipped, detail = tools(validated(CALLS_AT_ONCE, *SAME, *ENDS_SOON, "--skip-chat-parsing"))
    assert (ok, skipped) == (False, False)
    assert "without the required tool call" in detail


@pytest.mark.parametrize(("template", "why"), [(WITHOUT_TOOLS, "does not support tools"), (TALKS_BEFORE, "not decided")])
def test_it_does_not_apply_to_who_has_no_tools_and_decides_nothing_of_who_talks(
    validated: Validated, template: str, why: str
) -> None:
    ok, skipped, detail = tools(validated(template, *SAME))
    assert (ok, skipped) == (True, True)
    assert why in detail
