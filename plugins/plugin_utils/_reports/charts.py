# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Figures as SVG pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import Settings, brief
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.tables import all_figures

BAR_HEIGHT, ROW_HEIGHT, BAR_WIDTH, MARGIN_PIXELS = 9, 28, 420, 16
CHARACTER_PIXELS = 7  # the width of a label is estimated
COLOURS = ("#3465a4", "#e08214")


@dataclass(frozen=True)
class Row:
    """A row of a chart.

    :param values: the lengths of its bars, at least 0, and as many as there are kinds of bars.
    :param bold: its label is.
    """

    label: str
    values: Sequence[float]
    bold: bool = False


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def tuning_chart(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the figures as an SVG picture: two bars for each combination."""
    kinds = ("prompt", "generated")
    return bar_chart(
        [f"{kind} tokens per second" for kind in kinds],
        [
            Row(
                f"{host}: {brief(Settings(**figure['settings']))}",
                [figure[f"{kind}_tokens_per_second"] for kind in kinds],
                figure["chosen"],
            )
            for host, figure in all_figures(results)
        ],
    )


def bar_chart(kinds: Sequence[str], rows: Sequence[Row]) -> str:
    """Returns an SVG picture with a bar of each kind in each row, each kind with a scale of its own.

    :param kinds: what the bars show: one or two, as there are colours.
    """
    label_width = CHARACTER_PIXELS * max((len(row.label) for row in rows), default=0)
    width = label_width + BAR_WIDTH + 100 + 2 * MARGIN_PIXELS
    height = 2 * MARGIN_PIXELS + ROW_HEIGHT * (len(rows) + 1)
    largest = [max((row.values[index] for row in rows), default=1) or 1 for index in range(len(kinds))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    left = label_width + MARGIN_PIXELS
    for index, (kind, colour) in enumerate(zip(kinds, COLOURS, strict=False)):
        parts.append(f'<rect x="{left + index * 220}" y="{MARGIN_PIXELS}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + index * 220 + 18}" y="{MARGIN_PIXELS + 11}">{_escape(kind)}</text>')
    for number, row in enumerate(rows, 1):
        top = MARGIN_PIXELS + number * ROW_HEIGHT
        weight = ' font-weight="bold"' if row.bold else ""
        parts.append(f'<text x="{MARGIN_PIXELS}" y="{top + 14}"{weight}>{_escape(row.label)}</text>')
        for index, value in enumerate(row.values):
            length = round(BAR_WIDTH * value / largest[index], 1)
            y = top + index * (BAR_HEIGHT + 1)
            parts.append(f'<rect x="{left}" y="{y}" width="{length}" height="{BAR_HEIGHT}" fill="{COLOURS[index]}"/>')
            parts.append(f'<text x="{left + length + 4}" y="{y + BAR_HEIGHT}" font-size="10">{value:.1f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
