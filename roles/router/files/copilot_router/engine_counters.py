# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-server's own counters, in the form that Prometheus' conventions ask for, each with its model. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

OURS, THEIRS = "llamacpp_", "llamacpp:"
# Averages since the last scrape, which each scrape resets: two scrapers would distort them for each other.
SPOILT = frozenset({"prompt_tokens_seconds", "predicted_tokens_seconds"})
LINE = re.compile(rf"(?m)^(?:# (HELP|TYPE) )?{THEIRS}([a-z0-9_]+) (.+)$")
NUMBER = re.compile(r"[0-9.eE+-]+|nan|[+-]?inf", re.IGNORECASE)


def exposition(said: Mapping[str, str]) -> str:
    """Returns the counters of all models in Prometheus' format, grouped by name.

    :param said: model -> what its llama-server says at ``/metrics``.
    """
    helps: dict[str, str] = {}
    kinds: dict[str, str] = {}
    samples: dict[str, list[str]] = {}
    for model, text in said.items():
        for match in LINE.finditer(text):
            what, name, rest = match[1], match[2], match[3].strip()
            if what == "HELP":
                helps[name] = rest
            elif what == "TYPE":
                kinds[name] = rest if rest != "counter" or name.endswith("_total") else "gauge"
            elif name not in SPOILT and NUMBER.fullmatch(rest):
                samples.setdefault(name, []).append(f'{OURS}{name}{{model="{quoted(model)}"}} {rest}')
    lines = []
    for name, found in samples.items():
        lines += [f"# HELP {OURS}{name} {helps.get(name, 'As llama-server says.')}"]
        lines += [f"# TYPE {OURS}{name} {kinds.get(name, 'untyped')}", *found]
    return "".join(f"{line}\n" for line in lines)


def quoted(text: str) -> str:
    """Returns the value of a label as it stands between quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
