# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What developers notice of a change: requests lost, seconds without service, and the wait for the first token."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "molecule/resources")]

from bench_sides import Row
from developers import Client, Crowd

DEVELOPERS, TOKENS = 4, 64
SECONDS_BEFORE = 20  # in which is seen what is usual


def rows(what: str, client: Client, changes: Mapping[str, Callable[[], object]]) -> list[Row]:
    """Makes one change after the other while developers never stop asking.

    :param what: what is changed, in words.
    :param changes: what makes each change, by its name in words.
    """
    return [row for change, make in changes.items() for row in _rows(f"{change} of {what}", client, make)]


def _rows(what: str, client: Client, change: Callable[[], object]) -> list[Row]:
    with Crowd(client, DEVELOPERS, TOKENS) as developers:
        time.sleep(SECONDS_BEFORE)
        begin = time.monotonic()
        change()
        developers.asked(DEVELOPERS)
        end = time.monotonic()
    lost = len(developers.lost()) + len(developers.cut())
    answered = sum(begin <= one.at[-1] <= end for one in developers.streams if one.at)
    usual, silence = developers.longest_silence(until=begin), developers.longest_silence(begin, end)
    before, first = developers.slowest_first_token(until=begin), developers.slowest_first_token(begin, end)
    return [
        (f"requests lost, {what}", lost, f"of {answered}, in {end - begin:.0f} s"),
        (f"seconds without service, {what}", max(0.0, silence - usual), f"longest silence {silence:.2f} s, usual {usual:.2f} s"),
        (
            f"95th percentile of the time to the first token, {what} against before",
            first / before,
            f"{first * 1000:.0f} against {before * 1000:.0f} ms",
        ),
    ]
