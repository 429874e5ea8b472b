# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The metrics of a run for the textfile collector of the Prometheus node exporter. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

MIB = 1 << 20
FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y%m%d%H%M%SZ")  # of our report, and of community.crypto

Sample = tuple[Mapping[str, str], float]


def host_metrics(known: Mapping[str, Any]) -> str:
    """Returns the file's content.

    :param known: ``info``, a dict of words; ``ends``, name of what ends -> when, or nothing; ``plan``, part of the memory -> MiB;
        ``tuning``, model -> what tuning kept of it.
    :raises CopilotError: a time is none.
    """
    ends: list[Sample] = [({"of": name}, seconds(text)) for name, text in known["ends"].items() if text]
    plan: list[Sample] = [({"part": part}, int(mib) * MIB) for part, mib in known["plan"].items()]
    lines = [
        *_family("info", "What the host is made of, as the last run left it.", [(known["info"], 1)]),
        *_family("end_timestamp_seconds", "When a certificate or a list of revoked ones ends.", ends),
        *_family("memory_plan_bytes", "Memory as it was planned.", plan),
        *_family("tuned_tokens_per_second", "Speed that was measured of the settings in use.", list(_speeds(known["tuning"]))),
    ]
    return "".join(f"{line}\n" for line in lines)


def seconds(text: str) -> float:
    """Returns a time in seconds since 1970. Raises CopilotError."""
    for form in FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            continue
    raise CopilotError(f"{text!r} is no time")


def _speeds(tuning: Mapping[str, Any]) -> Iterator[Sample]:
    for model, kept in tuning.items():
        for figure in kept["figures"]:
            if figure["chosen"]:
                for kind in ("prompt", "generated"):
                    yield {"model": model, "kind": kind}, figure[f"{kind}_tokens_per_second"]
                break


def _family(name: str, words: str, samples: list[Sample]) -> Iterator[str]:
    if samples:
        yield f"# HELP copilot_host_{name} {words}"
        yield f"# TYPE copilot_host_{name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_quoted(text)}"' for label, text in labels.items())
        yield f"copilot_host_{name}{{{shown}}} {value:.17g}"


def _quoted(text: object) -> str:
    return str(text).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
