# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Developers' usage: reads the routers' records, and sums them over hosts as a table and as CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

COUNTS = ("requests", "broken_off", "computed", "cached", "generated", "seconds")
COLUMNS = ("developer", "model", *COUNTS)
_FILE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl")

Line = Mapping[str, Any]


def read(folders: Iterable[str], first: str, last: str) -> list[dict[str, Any]]:
    """Returns the records of all days of a period, each with its day. Raises CopilotError.

    :param first: the first day, as 2026-11-01; empty: the first that is there.
    :param last: the last day; empty: today.
    """
    found = []
    for path in sorted(path for folder in folders for path in Path(folder).glob("*.jsonl")):
        if not _FILE.fullmatch(path.name) or path.stem < first or (last and path.stem > last):
            continue
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                said = json.loads(line)
                found.append({"day": path.stem, **{name: said[name] for name in COLUMNS}})
        except FileNotFoundError:  # its time came just now
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CopilotError(f"{path} cannot be read ({type(error).__name__}): remove it; its usage records are lost") from None
    return found


def merged(lines: Iterable[Line], *by: str) -> list[dict[str, Any]]:
    """Returns the sums of all lines that are equal in some of their columns, in the order of these."""
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines:
        into = sums.setdefault(tuple(line[name] for name in by), dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            into[name] = round(into[name] + line[name], 3)
    return [{**dict(zip(by, key)), **sums[key]} for key in sorted(sums)]


def usage_csv(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns what was used as CSV, with a line for each day, developer and model.

    :param results: results of ``usage_info`` by host.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, ("day", *COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged(_lines(results), "day", "developer", "model"))
    return text.getvalue()


def usage_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns an aligned table with a line for each developer and model, the sum of all, and which hosts are missing.

    :param results: results of ``usage_info`` by host, or of a task that failed, with ``msg``.
    """
    lines = list(_lines(results))
    whole = {"developer": "all", "model": "", **(merged(lines) or [dict.fromkeys(COUNTS, 0)])[0]}
    rows = [
        [name.replace("_", " ") for name in COLUMNS],
        *([_cell(line[name]) for name in COLUMNS] for line in [*merged(lines, "developer", "model"), whole]),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    sides: list[Callable[[str, int], str]] = [str.ljust, str.ljust, *[str.rjust] * len(COUNTS)]
    table = ["  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths)).rstrip() for row in rows]
    missing = [f"missing: {host}: {_why(result)}" for host, result in results.items() if "usage" not in result]
    return "\n".join([*table, *missing])


def _lines(results: Mapping[str, Mapping[str, Any]]) -> Iterable[Line]:
    return (line for result in results.values() for line in result.get("usage", ()))


def _cell(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _why(result: Mapping[str, Any]) -> str:
    return " ".join(str(result.get("msg") or "it cannot be reached").split())
