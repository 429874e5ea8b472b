# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measured speeds as an SVG picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import Settings, brief
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.tables import all_figures

BAR_HEIGHT, ROW_HEIGHT, LABEL_WIDTH, BAR_WIDTH, MARGIN_PIXELS = 9, 28, 520, 420, 16
COLOURS = {"prompt": "#3465a4", "generated": "#e08214"}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def tuning_chart(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the figures as an SVG picture: two bars for each combination, each kind with a scale of its own."""
    figures = all_figures(results)
    width = LABEL_WIDTH + BAR_WIDTH + 100 + 2 * MARGIN_PIXELS
    height = 2 * MARGIN_PIXELS + ROW_HEIGHT * (len(figures) + 1)
    largest = {kind: max((figure[f"{kind}_tokens_per_second"] for _host, figure in figures), default=1) or 1 for kind in COLOURS}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    left = LABEL_WIDTH + MARGIN_PIXELS
    for index, kind in enumerate(COLOURS):
        parts.append(f'<rect x="{left + index * 220}" y="{MARGIN_PIXELS}" width="12" height="12" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{left + index * 220 + 18}" y="{MARGIN_PIXELS + 11}">{kind} tokens per second</text>')
    for row, (host, figure) in enumerate(figures, 1):
        top = MARGIN_PIXELS + row * ROW_HEIGHT
        weight = ' font-weight="bold"' if figure["chosen"] else ""
        label = _escape(f"{host}: {brief(Settings(**figure['settings']))}")
        parts.append(f'<text x="{MARGIN_PIXELS}" y="{top + 14}"{weight}>{label}</text>')
        for index, kind in enumerate(COLOURS):
            value = figure[f"{kind}_tokens_per_second"]
            length = round(BAR_WIDTH * value / largest[kind], 1)
            y = top + index * (BAR_HEIGHT + 1)
            parts.append(f'<rect x="{left}" y="{y}" width="{length}" height="{BAR_HEIGHT}" fill="{COLOURS[kind]}"/>')
            parts.append(f'<text x="{left + length + 4}" y="{y + BAR_HEIGHT}" font-size="10">{value:.1f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
