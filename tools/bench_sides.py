# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The two sides of a benchmark: llama-servers that differ in their options, and the ratios of what was measured of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests/contract")]

from router_rig import EngineOnSocket

Row = tuple[str, float, str]  # what, ratio, the figures behind it


@contextmanager
def servers(
    engine: Path, model: Path, options: Mapping[str, Sequence[str]], **settings: int
) -> Iterator[dict[str, EngineOnSocket]]:
    """Yields a running llama-server for each of the named options.

    :param settings: what they have in common, as EngineOnSocket takes it.
    """
    running: dict[str, EngineOnSocket] = {}
    with tempfile.TemporaryDirectory() as directory:
        try:
            for name, own in options.items():
                work = Path(directory) / str(len(running))
                work.mkdir()
                running[name] = EngineOnSocket(engine, model, work, options=(*own, "--jinja"), **settings)
                running[name].start()
            yield running
        finally:
            for server in running.values():
                server.kill()


def ratios(what: Mapping[str, str], one: Mapping[str, float], other: Mapping[str, float], figures: str) -> list[Row]:
    """Returns how many times as much the first side has.

    :param what: the words for each figure.
    :param figures: how both are shown, with places for them.
    """
    return [(words, one[name] / other[name], figures.format(one[name], other[name])) for name, words in what.items()]
