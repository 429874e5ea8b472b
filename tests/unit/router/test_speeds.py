# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Speeds of a server."""

from __future__ import annotations

from copilot_router.speeds import Speeds


def test_speeds_are_learnt_by_depth_and_neighbours_do_not_make_a_server_slow():
    speeds = Speeds()
    speeds.learn(10_000, 0, 4000, 40_000, 100, 10_000)
    assert speeds.prompt(2000) == 100.0
    speeds.learn(10_000, 0, 4000, 400_000, 100, 100_000)
    assert speeds.prompt(2000) > 90
    speeds.learn(100_000, 38_000, 2000, 40_000, 100, 10_000)
    assert (speeds.prompt(39_000), speeds.prompt_seconds(38_000, 40_000)) == (50.0, 40.0)
    assert speeds.tokens_per_character > 0.28
    speeds.learn(0, 0, 1, 1, 0, 0)  # says nothing
    assert speeds.prompt(39_000) == 50.0
