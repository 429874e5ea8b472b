# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a host, and the table of all hosts."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

BACKEND_FIELDS = ("id", "zone", "health", "detail")


def backends_of(state: str) -> list[dict[str, str]]:
    """Parses the state file of a balancer's router: returns the state of its backends; empty if it cannot be read."""
    try:
        backends = json.loads(state)["backends"]
        return [{name: str(one.get(name) or "") for name in BACKEND_FIELDS} for one in backends]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def certificate_end(openssl_output: str) -> str:
    """Returns when a certificate ends, in ISO form, from ``openssl x509 -noout -enddate``; empty when there is none."""
    _name, found, date = openssl_output.strip().partition("notAfter=")
    if not found:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ssl.cert_time_to_seconds(date)))


def file_digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Returns a short digest of each file, by its name as people know it; of a drop-in, with the name of its unit.

    :param contents: content by path.
    """

    def name_of(path: str) -> str:
        folder, _slash, name = path.rpartition("/")
        return f"{folder.rpartition('/')[2]}/{name}" if folder.endswith(".d") else name

    return {name_of(path): hashlib.sha256(content).hexdigest()[:12] for path, content in sorted(contents.items())}


def unit_states(units: Sequence[str], systemctl_output: str) -> dict[str, str]:
    """Returns the state of each unit, from ``systemctl is-active``, which prints a line for each in their order."""
    lines = systemctl_output.split()
    return dict(zip(units, lines)) if len(lines) == len(units) else {}


COLUMNS = ("host", "mode", "endpoint", "model", "slots", "certificate until", "services", "backends")


def fleet_table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns an aligned table with a line for each host.

    :param reports: results of ``report_info`` by host, or of a task that failed, with ``msg``.
    """
    rows = [COLUMNS, *(_row(host, result) for host, result in reports.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _row(host: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    report = result.get("report")
    if not report:
        why = result.get("msg") or "slm.copilot.site has not made a report here yet"
        return (host, "unknown", *[""] * (len(COLUMNS) - 3), " ".join(str(why).split()))
    services = result.get("services") or {}
    down = [f"{unit.removesuffix('.service')} {state}" for unit, state in services.items() if state != "active"]
    backends = result.get("backends") or []
    ready = [one for one in backends if one.get("health") == "ready"]
    others = ", ".join(f"{one['id']} {one.get('health', 'unknown')}" for one in backends if one not in ready)
    return (
        host,
        report["mode"],
        report["endpoint"],
        ", ".join(one["name"] for one in report["models"]),
        ", ".join(f"{one['slots']} x {one['context_size']}" for one in report["models"]),
        (result.get("certificate_end") or report.get("certificate", {}).get("not_after") or "none")[:10],
        ", ".join(down) or ("active" if services else "unknown"),
        f"{len(ready)}/{len(backends)} ready" + (f" ({others})" if others else "") if backends else "",
    )
