# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What developers used, put together over hosts and days."""

from __future__ import annotations

import json

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server.usage import read, usage_csv, usage_table

DAYS = ("2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01")


def line(developer="alice", model="tiny", requests=1, **more):
    none = {"broken_off": 0, "computed": 10, "cached": 20, "generated": 5, "seconds": 1.25}
    return {"developer": developer, "model": model, "requests": requests, **none, **more}


@pytest.fixture
def folders(tmp_path):
    for name in ("usage", "usage-balancer"):
        (tmp_path / name).mkdir()
    for day in DAYS:
        (tmp_path / "usage" / f"{day}.jsonl").write_text(json.dumps(line()) + "\n")
    (tmp_path / "usage-balancer" / "2026-11-30.jsonl").write_text(json.dumps(line("bob")) + "\n")
    (tmp_path / "usage" / "notes.jsonl").write_text("by hand")
    return [str(tmp_path / name) for name in ("usage", "usage-balancer", "nowhere")]


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        pytest.param("", "", ["2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01", "2026-11-30"], id="all"),
        pytest.param("2026-11-01", "2026-11-30", ["2026-11-01", "2026-11-30", "2026-11-30"], id="a month"),
        pytest.param("2026-12-01", "", ["2026-12-01"], id="from a day on"),
        pytest.param("", "2026-10-31", ["2026-10-31"], id="to a day"),
    ],
)
def test_the_days_of_a_period(folders, first, last, days):
    assert [one["day"] for one in read(folders, first, last)] == days


@pytest.mark.parametrize("content", ["{", "[]", '{"developer": "alice"}'], ids=["cut off", "a list", "too little"])
def test_a_file_that_is_none_is_named(tmp_path, content):
    (tmp_path / "2026-11-01.jsonl").write_text(content)
    with pytest.raises(CopilotError, match="2026-11-01.jsonl cannot be read"):
        read([str(tmp_path)], "", "")


RESULTS = {
    "madrid-1": {"usage": [{"day": "2026-11-02", **line()}, {"day": "2026-11-01", **line("bob", requests=200)}]},
    "paris-1": {"usage": [{"day": "2026-11-02", **line(broken_off=3)}]},
    "berlin-1": {"msg": "no\nroute", "unreachable": True},
}


def test_the_table_has_sums_and_what_is_missing():
    assert usage_table(RESULTS).splitlines() == [
        "developer  model  requests  broken off  computed  cached  generated  seconds",
        "alice      tiny          2           3        20      40         10        2",
        "bob        tiny        200           0        10      20          5        1",
        "all                    202           3        30      60         15        4",
        "missing: berlin-1: no route",
    ]


def test_the_table_of_nobody():
    assert usage_table({"madrid-1": {"usage": []}}).splitlines()[1:] == [
        "all                      0           0         0       0          0        0"
    ]


def test_csv_has_the_days_one_by_one():
    assert usage_csv(RESULTS) == (
        "day,developer,model,requests,broken_off,computed,cached,generated,seconds\n"
        "2026-11-01,bob,tiny,200,0,10,20,5,1.25\n"
        "2026-11-02,alice,tiny,2,3,20,40,10,2.5\n"
    )
