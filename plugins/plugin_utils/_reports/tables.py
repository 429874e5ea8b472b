# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measurements and checks as aligned tables."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Union

from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import TURN_GENERATED, TURN_PROMPT, Settings, brief
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import in_order
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import Check

Results = Union[Sequence[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]]


def checks_summary(results: Results) -> list[dict[str, Any]]:
    """Returns the results of endpoint_check for each endpoint, without the fields that Ansible adds.

    The results come alone, or each under a name. One without checks, of a task that failed before them,
    becomes a failed entry with the task's message.
    """
    named = results.items() if isinstance(results, Mapping) else [(result.get("url"), result) for result in results]
    entries = []
    for name, result in named:
        checks = [dict(check) for check in result.get("checks") or []]
        if not checks:
            # A module that could not run at all (sudo, Python) has its reason there.
            stderr = str(result.get("module_stderr") or "")[:300]
            message = f"{result.get('msg') or 'no result'} {stderr}".strip()
            checks = [asdict(Check("task", "Checks", False, False, message, 0.0))]
        entries.append(
            {
                "name": str(name or "?"),
                "url": result.get("url"),
                "model": result.get("model"),
                "passed": all(check["ok"] for check in checks),
                "failed_count": sum(1 for check in checks if not check["ok"] and not check["skipped"]),
                "checks": checks,
                "timings": dict(result.get("timings") or {}),
            }
        )
    return entries


# By whether it is ok, and whether it was skipped.
_STATES = {(True, False): "ok", (True, True): "n/a", (False, True): "skipped", (False, False): "FAILED"}


def checks_table(results: Results) -> str:
    """One aligned table for people, a line for each check of each endpoint."""
    rows = [("endpoint", "check", "result", "seconds", "detail")]
    for entry in checks_summary(results):
        for check in entry["checks"]:
            state = {(True, False): "ok", (True, True): "n/a", (False, True): "skipped"}.get(
                (check["ok"], check["skipped"]), "FAILED"
            )
            seconds = "-" if check["skipped"] else f"{check['seconds']:.2f}"
            rows.append((entry["name"], check["title"], state, seconds, " ".join(check["detail"].split())))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    )


def all_figures(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(host, figure) for host, one in results.items() for figure in one["figures"]]


def _aligned(rows: Sequence[Sequence[str]], numbers: Container[int]) -> list[str]:
    """Returns rows as lines, with columns of numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in numbers else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def _work_lines(host: str, tuning: Mapping[str, Any]) -> list[str]:
    """Returns the seconds of an agent's work on a host, and what was gained."""
    timed = tuning.get("work") or []
    names = in_order(name for one in timed for name in one["seconds"])
    if not names:
        return []
    rows = [("host", "speculation", "settings", *(f"{name} s" for name in names), "")]
    for one in timed:
        seconds = (f"{one['seconds'][name]:.2f}" if name in one["seconds"] else "-" for name in names)
        chosen = "<- chosen" if one["chosen"] else ""
        rows.append((host, one["speculation"], brief(Settings(**one["settings"])), *seconds, chosen))
    lines = ["", *_aligned(rows, numbers=range(3, 3 + len(names)))]
    if gains := tuning.get("gains"):
        words = ", ".join(f"{name} {gains[name]:.2f} x" for name in in_order(gains))
        lines.append(f"{host}: against the settings before tuning and no speculation: {words}.")
    return lines


def tuning_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table for people.

    :param results: entries, by host.
    """
    rows = [("host", "varied", "settings", "prompt t/s", "gen. t/s", "turn s", "")]
    for host, figure in all_figures(results):
        rows.append(
            (
                host,
                figure["stage"],
                brief(Settings(**figure["settings"])),
                f"{figure['prompt_tokens_per_second']:.1f}",
                f"{figure['generated_tokens_per_second']:.1f}",
                f"{figure['turn_seconds']:.1f}",
                "<- chosen" if figure["chosen"] else "",
            )
        )
    lines = _aligned(rows, numbers=range(3, 6))
    for host, one in results.items():
        lines += _work_lines(host, one)
        first = one["figures"][0]["turn_seconds"]
        best = next(figure["turn_seconds"] for figure in one["figures"] if figure["chosen"])
        lines.append(
            f"{host}: a turn ({TURN_PROMPT} new and {TURN_GENERATED} generated tokens) takes {best:.1f} s instead of "
            f"{first:.1f} s."
        )
        if one["skipped"]:
            lines.append(f"{host}: no time was left for {', '.join(one['skipped'])}; give it more with tune_seconds.")
        lines.extend(f"{host}: not measured: {what}" for what in one["failed"])
    return "\n".join(lines)
