# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet as one HTML file without external resources, for people without a monitor. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from html import escape
from typing import Any

CERTIFICATE_DAYS = 14  # as the alert CopilotCertificateEnds

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>slm.copilot: the fleet</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --paper: #fff; --card: #f3f5f7; --bad: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebef; --soft: #9aa5b1; --paper: #14171b; --card: #1f242a; --bad: #ff8a80 }
}
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--paper); color: var(--ink) }
body { font: 16px/1.4 system-ui, sans-serif }
h1 { font-size: 1.3rem }
h2 { font-size: 1.05rem; margin: 0 0 .4rem }
p, dt { color: var(--soft) }
main { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)) }
section { background: var(--card); border-radius: .5rem; padding: .8rem; overflow-wrap: anywhere }
dl { display: grid; gap: .2rem .8rem; grid-template-columns: max-content 1fr; margin: 0 }
dd { margin: 0 }
.bad { color: var(--bad); font-weight: 600 }
</style>
</head>
<body>
<h1>slm.copilot: the fleet</h1>
"""


def fleet_page(reports: Mapping[str, Mapping[str, Any]], made: str) -> str:
    """Returns the page: what each host serves, and its problems.

    :param reports: results of ``report_info`` by host, or of a task that failed, with ``msg``.
    :param made: when they were read, in UTC, in ISO form.
    """
    hosts = {host: list(_lines(result, date.fromisoformat(made[:10]))) for host, result in reports.items()}
    wrong = [host for host, lines in hosts.items() if any(bad for _name, _text, bad in lines)]
    words = f'<span class="bad">Look at {escape(", ".join(wrong))}.</span>' if wrong else "All is well."
    cards = "".join(_card(host, lines) for host, lines in hosts.items())
    return f"{HEAD}<p>{words} Seen at {escape(made)}.</p>\n<main>\n{cards}</main>\n</body>\n</html>\n"


def _card(host: str, lines: list[tuple[str, str, bool]]) -> str:
    shown = ((escape(name), ' class="bad"' if bad else "", escape(text)) for name, text, bad in lines)
    rows = "".join(f"<dt>{name}</dt><dd{look}>{text}</dd>\n" for name, look, text in shown)
    return f"<section>\n<h2>{escape(host)}</h2>\n<dl>\n{rows}</dl>\n</section>\n"


def _lines(result: Mapping[str, Any], today: date) -> Iterator[tuple[str, str, bool]]:
    """Yields the facts of a host: name, text, and whether it needs attention."""
    report = result.get("report")
    if not report:
        why = result.get("msg") or "slm.copilot.site has not made a report here yet"
        yield "unknown", " ".join(str(why).split()), True
        return
    yield "serves as", report["mode"], False
    yield "endpoint", report["endpoint"], False
    for model in report["models"]:
        yield "model", f"{model['name']}, {model['slots']} slots of {model['context_size']} tokens", False
    if report.get("engine"):
        yield "engine", report["engine"], False
    end = str(result.get("certificate_end") or report.get("certificate", {}).get("not_after") or "")[:10]
    yield "certificate", f"until {end}" if end else "none", not end or (date.fromisoformat(end) - today).days < CERTIFICATE_DAYS
    services = result.get("services") or {}
    if not services:
        yield "services", "unknown", True
    for unit, state in services.items():
        yield unit.removesuffix(".service"), state, state != "active"
    for backend in result.get("backends") or []:
        health = backend.get("health") or "unknown"
        detail = f": {backend['detail']}" if backend.get("detail") else ""
        yield f"backend {backend['id']}", f"{health}{detail}", health != "ready"
    for warning in report.get("warnings") or []:
        yield "warning", warning, True
