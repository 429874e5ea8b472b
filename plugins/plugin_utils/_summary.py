# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a run of site.yml: what each host serves, what changed since the previous report, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]
COLUMNS = ("host", "endpoint", "model", "conversations x tokens", "prompt, answer tokens/s", "certificate until")
# Fields of a report with names for operators, except those with their own comparison.
FACTS = {
    "endpoint": "endpoint",
    "mode": "mode",
    "engine": "engine",
    "cpu_variant": "CPU variant",
}


@dataclass(frozen=True)
class Host:
    """A host of the run.

    :param before: its report (docs/report.schema.json) before the run, empty where there was none.
    :param after: its report after the run.
    """

    name: str
    before: Report
    after: Report


def changes(host: Host) -> list[str]:
    """Returns what changed on a host, in an operator's terms."""
    before, after = host.before, host.after
    if not before:
        return ["set up"]
    found = [
        f"{word}: {before.get(name) or 'none'} -> {after.get(name) or 'none'}"
        for name, word in FACTS.items()
        if before.get(name) != after.get(name)
    ]
    found += _models(before, after)
    found += _names("user", before.get("users", []), after.get("users", []))
    found += _names("backend", _ids(before), _ids(after))
    found += _files(before.get("files"), after.get("files", {}))
    ends = [str(one.get("certificate", {}).get("not_after", "")) for one in (before, after)]
    if ends[0] != ends[1]:
        found.append(f"certificate: until {ends[1][:10] or 'unknown'}")
    return found


def _files(before: Mapping[str, str] | None, after: Mapping[str, str]) -> list[str]:
    """Returns changes of units and firewall rules, which older reports do not contain."""
    if before is None:
        return []
    changed = [name for name, digest in after.items() if before.get(name, digest) != digest]
    return _names("file", list(before), list(after)) + [f"file changed: {', '.join(changed)}"] * bool(changed)


def _models(before: Report, after: Report) -> list[str]:
    old, new = ({one["name"]: _size(one) for one in report.get("models", [])} for report in (before, after))
    kept = [f"{name}: {old[name]} -> {new[name]}" for name in new if name in old and old[name] != new[name]]
    return _names("model", list(old), list(new)) + kept


def _names(what: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    added = [one for one in after if one not in before]
    removed = [one for one in before if one not in after]
    return [f"{what} added: {', '.join(added)}"] * bool(added) + [f"{what} removed: {', '.join(removed)}"] * bool(removed)


def _ids(report: Report) -> list[str]:
    return [str(one["id"]) for one in report.get("backends", [])]


def _size(model: Mapping[str, Any]) -> str:
    return f"{model['slots']} x {model['context_size']}"


def _row(host: Host) -> tuple[str, ...]:
    after = host.after
    models = after["models"]
    more = f" and {len(models) - 1} more" if len(models) > 1 else ""
    until = str(after.get("certificate", {}).get("not_after", ""))[:10]
    end = until or "made by the first run"
    return (host.name, str(after["endpoint"]), f"{models[0]['name']}{more}", _size(models[0]), _speed(after), end)


def _speed(report: Report) -> str:
    """Returns the measured speed of the host's first model, otherwise the expected one."""
    speeds = report.get("speeds") or {}
    one = speeds.get(report["models"][0]["name"]) or next(iter(speeds.values()), None)
    if one is None:
        return ""
    found = one.get("measured") or one["expected"]
    return f"{'' if 'measured' in one else 'about '}{found['prompt']:.0f}, {found['generated']:.1f}"


def summary(hosts: Sequence[Host], inventory: Sequence[str], keys: str, check_mode: bool = False) -> list[str]:
    """Returns the summary: one line if nothing changed and no host has warnings, otherwise what each serves and what is next.

    :param inventory: what the inventory is made of (``-i``).
    :param keys: where developers' keys are, in words.
    :param check_mode: whether the run only foretold.
    """
    changed = {host.name: changes(host) for host in hosts}
    warnings = [(host.name, str(warning)) for host in hosts for warning in host.after.get("warnings", [])]
    if not any(changed.values()) and not warnings:
        return ["1 host is unchanged." if len(hosts) == 1 else f"{len(hosts)} hosts are unchanged."]
    rows = [COLUMNS, *map(_row, hosts)]
    empty = [column for column in range(len(COLUMNS)) if not any(row[column] for row in rows[1:])]
    rows = [tuple(cell for column, cell in enumerate(row) if column not in empty) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["", *("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows), ""]
    told = "would change" if check_mode else "changed"
    lines += [f"{told}  {name}: {'; '.join(found)}" for name, found in changed.items() if found]
    lines += [f"WARNING  {name}: {warning}" for name, warning in warnings]
    if check_mode:
        return lines
    sources = "".join(f" -i {shlex.quote(source)}" for source in inventory)
    return [
        *lines,
        "",
        f"The key is in {keys}.",
        f"Validate from here:        ansible-playbook slm.copilot.validate{sources}",
        f"Write developers' files:   ansible-playbook slm.copilot.clients{sources}",
    ]
